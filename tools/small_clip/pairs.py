# SPDX-License-Identifier: Apache-2.0
"""Image-text pairs: each part twice, normal and anomalous, as a photograph or as a rotated point cloud."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from small_clip.captions import Captions
from small_clip.defects import Part, draw_kinds, draw_patches, spoil
from small_clip.fields import Dice, chosen, noise_fields, spread
from small_clip.lighting import draw_conditions, photograph
from small_clip.materials import COLOURS, INDUSTRIAL, MATERIALS
from small_clip.reliefs import draw_reliefs
from small_clip.shapes import SHAPES
from small_clip.turning import draw_scan, draw_turn, turn

VIEW_SHARE = 0.5
_TWICE = 0.15  # share of anomalous parts with two defects
_INDUSTRIAL = 0.4  # share of parts of one of the first materials: plastic, rubber, metal
_BLURRED = 0.3  # share of photographs out of focus
_DEEPEST = 3.0  # largest factor of heights in views; photographs from above show little of the height
_VISIBLE = 0.02  # mean difference in the mask below which a defect counts as invisible


class Pairs(NamedTuple):
    """Images and captions of n twins.

    Attributes:
        images: (2, n, 3, S, S) RGB in [0, 1]: normal, anomalous.
        masks: (n, S, S) bool, where the defect is.
        captions: (2, n, length), tokens.
        sure: (n,) bool, true = the defect is visible.
    """

    images: Tensor
    masks: Tensor
    captions: Tensor
    sure: Tensor


def make_pairs(
    dice: Dice, captions: Captions, count: int, size: int, radius: tuple[float, float], ease: float = 0.0
) -> Pairs:
    """Make n twins.

    Args:
        dice: Source of random numbers; the same seed gives the same pairs.
        captions: Writer of captions.
        count: Number of twins, n.
        size: Rows and columns of the images.
        radius: Smallest and largest radius of a part in pixels.
        ease: From 0 (all defects) to 1 (only large and conspicuous ones).

    Returns:
        The pairs.
    """
    noise = noise_fields(dice, count, size)
    scale = dice.uniform(count, low=radius[0], high=radius[1])
    x, y = _part_coordinates(dice, size, scale)
    shape, material = dice.below(len(SHAPES), count), dice.below(len(MATERIALS), count)
    material = torch.where(dice.chance(_INDUSTRIAL, count), material % INDUSTRIAL, material)
    part, colour, gloss = _flawless(dice, shape, material, (x, y), noise, scale)
    view = torch.arange(count, device=dice.device) < round(VIEW_SHARE * count)
    faulty, mask, kind = _faulty(dice, part, view, noise, scale, ease)

    views, photos = view.nonzero()[:, 0], (~view).nonzero()[:, 0]
    conditions = draw_conditions(dice, noise[photos].roll(3, 0), gloss[photos])
    pictures = [photograph(_rows(twin, photos), conditions, scale[photos]) for twin in (part, faulty)]
    deep = spread(dice.log_uniform(len(views), low=1.0, high=_DEEPEST))
    solid = [twin._replace(height=twin.height * deep) for twin in (_rows(part, views), _rows(faulty, views))]
    scan, turns = draw_scan(dice, solid[0].height, noise[views], scale[views]), draw_turn(dice, len(views))
    turned = [turn(twin, mask[views], scan, turns, scale[views]) for twin in solid]
    images = torch.cat([torch.stack([image for image, _ in turned]), _develop(dice, torch.stack(pictures))], dim=1)
    # a missing piece is marked where the normal twin has it
    masks = torch.cat([turned[0][1] | turned[1][1], mask[photos]])

    difference = (images[1] - images[0]).abs().amax(1)
    covered = masks.sum((1, 2))
    sure = (difference * masks).sum((1, 2)) > _VISIBLE * covered
    texts = captions.write(dice, shape, material, colour, view, kind)
    return Pairs(images, masks, texts, sure & (covered > 4))


def _part_coordinates(dice: Dice, size: int, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Part coordinates of each pixel: rotated, shifted, a little foreshortened, sometimes mirrored."""
    count = len(scale)
    room = (size / 2 - 0.8 * scale).clamp(min=size * 0.06)
    centre = size / 2 + room[:, None] * dice.uniform(count, 2, low=-0.8, high=0.8)
    angle, mirror = dice.uniform(count, high=2 * torch.pi), dice.chance(0.5, count).float() * 2 - 1
    stretch = 1 + dice.uniform(count, high=0.12)
    line = torch.arange(size, device=dice.device) + 0.5
    right = (line[None, None] - spread(centre[:, 0])) / spread(scale * mirror)
    down = (line[None, :, None] - spread(centre[:, 1])) * spread(stretch / scale)
    cos, sin = spread(angle.cos()), spread(angle.sin())
    return right * cos - down * sin, right * sin + down * cos


def _flawless(
    dice: Dice, shape: Tensor, material: Tensor, place: tuple[Tensor, Tensor], noise: Tensor, scale: Tensor
) -> tuple[Part, Tensor, Tensor]:
    """Make normal parts; returns also the index of their colours and their gloss."""
    count = len(shape)
    (x, y), soft = place, spread(1 / scale)
    of_shape, of_material, choice = dice.uniform(count, 8), dice.uniform(count, 4), dice.uniform(count)
    height, albedo = torch.zeros_like(x), torch.zeros_like(x)[:, None].repeat(1, 3, 1, 1)
    for recipe, rows in chosen(SHAPES, shape):
        height[rows] = recipe.height(x[rows], y[rows], of_shape[rows], soft[rows])
    names = list(COLOURS)
    table = torch.tensor(list(COLOURS.values()), device=dice.device)
    palette = [torch.tensor([names.index(c) for c in recipe.colours], device=dice.device) for recipe in MATERIALS]
    each = torch.arange(count, device=dice.device)
    colour = torch.stack([p[(choice * len(p)).long()] for p in palette])[material, each]
    tone = (table[colour] + 0.05 * dice.normal(count, 3)).clamp(0.02, 0.98)
    for surface, rows in chosen(MATERIALS, material):
        albedo[rows] = surface.albedo(x[rows], y[rows], noise[rows], tone[rows], of_material[rows])
    gloss = torch.tensor([m.gloss for m in MATERIALS], device=dice.device)[material]
    grain = torch.tensor([m.grain for m in MATERIALS], device=dice.device)[material]
    uneven = spread(grain) * (noise[:, 1] + 0.5 * noise[:, 2]) * (height / 0.03).clamp(0, 1)
    height = height * spread(dice.uniform(count, low=0.6, high=1.1))
    height = height + draw_reliefs(dice, x, y) * (height / 0.03).clamp(0, 1)
    return Part((height + uneven).clamp(min=0), albedo, torch.zeros_like(x, dtype=torch.bool)), colour, gloss


def _faulty(
    dice: Dice, part: Part, view: Tensor, noise: Tensor, scale: Tensor, ease: float
) -> tuple[Part, Tensor, Tensor]:
    """Make anomalous twins; returns also masks and kinds of defects (of two defects the first, for captions)."""
    kind = draw_kinds(dice, view, ease)
    faulty, mask = spoil(part, draw_patches(dice, part, noise.roll(1, 0), scale, ease), kind)
    again = dice.chance(_TWICE, len(view))
    twice = spoil(faulty, draw_patches(dice, part, noise.roll(2, 0), scale, ease), draw_kinds(dice, view, ease))
    both = [torch.where(again.view(-1, *[1] * (f.ndim - 1)), g, f) for f, g in zip(faulty, twice[0], strict=True)]
    return Part(*both), mask | (twice[1] & spread(again)), kind


def _rows(part: Part, rows: Tensor) -> Part:
    return Part(*(field[rows] for field in part))


def _develop(dice: Dice, images: Tensor) -> Tensor:
    """Apply focus, exposure and contrast of the camera, the same for both twins."""
    count = images.shape[1]
    soft = functional.avg_pool2d(images.flatten(0, 1), 3, 1, 1, count_include_pad=False).view_as(images)
    images = torch.where(dice.chance(_BLURRED, count, 1, 1, 1), soft, images)
    gamma = dice.log_uniform(count, 1, 1, 1, low=0.65, high=1.5)
    gain = dice.uniform(count, 1, 1, 1, low=0.6, high=1.15)
    return (images.clamp(min=1e-4) ** gamma * gain).clamp(0, 1)
