# SPDX-License-Identifier: Apache-2.0
"""Image-text pairs: each part twice, flawless and faulty, as a photograph or as a turned point cloud."""

from typing import NamedTuple

import torch
from torch import Tensor

from small_clip.captions import Captions
from small_clip.defects import Part, draw_kinds, draw_patches, spoil
from small_clip.fields import Dice, noise_fields, spread
from small_clip.lighting import draw_conditions, photograph
from small_clip.materials import COLOURS, MATERIALS
from small_clip.shapes import SHAPES
from small_clip.turning import draw_turn, gaps, turn

VIEW_SHARE = 0.5
_TWICE = 0.15  # share of parts with two defects
_HIDDEN = 0.5  # share of turned views whose colours know nothing of the geometry's defect
_VISIBLE = 0.02  # mean difference over the mask below which nobody could see the defect


class Pairs(NamedTuple):
    """n twins.

    Attributes:
        images: (2, n, 3, S, S) RGB in [0, 1]: flawless, faulty.
        masks: (n, S, S) bool, where the defect is.
        captions: (2, n, length) tokens.
        sure: (n,) bool, the difference can be seen.
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
        dice: source; the same one gives the same pairs.
        captions: the writer.
        count: n.
        size: rows and columns of the images.
        radius: smallest and largest radius of a part in pixels.
        ease: from 0, every defect, to 1, large and conspicuous ones.

    Returns:
        The pairs.
    """
    noise = noise_fields(dice, count, size)
    scale = dice.uniform(count, low=radius[0], high=radius[1])
    x, y = _part_coordinates(dice, size, scale)
    shape, material = dice.below(len(SHAPES), count), dice.below(len(MATERIALS), count)
    part, colour, gloss = _flawless(dice, shape, material, (x, y), noise, scale)
    view = torch.arange(count, device=dice.device) < round(VIEW_SHARE * count)
    part = part._replace(hole=gaps(dice, part.height, noise, scale) & spread(view))

    faulty, mask, kind = _faulty(dice, part, view, noise, scale, ease)
    conditions = draw_conditions(dice, noise.roll(3, 0), gloss)
    normal_image = photograph(part, conditions, scale)
    hidden = dice.chance(_HIDDEN, count) & view
    coloured = faulty._replace(height=torch.where(spread(hidden), part.height, faulty.height))
    faulty_image = photograph(coloured, conditions, scale)
    images, masks = _develop(dice, torch.stack([normal_image, faulty_image])), mask.clone()
    _turn_views(dice, images, masks, (part, faulty), view, scale)

    difference = (images[1] - images[0]).abs().amax(1)
    covered = masks.sum((1, 2))
    sure = (difference * masks).sum((1, 2)) > _VISIBLE * covered
    texts = captions.write(dice, shape, material, colour, view, kind)
    return Pairs(images, masks, texts, sure & (covered > 4))


def _part_coordinates(dice: Dice, size: int, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Where each pixel looks in part coordinates: turned, moved, a little foreshortened, sometimes mirrored."""
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
    """The parts, the index of their colours and their gloss."""
    count = len(shape)
    (x, y), soft = place, spread(1 / scale)
    of_shape, of_material, choice = dice.uniform(count, 8), dice.uniform(count, 4), dice.uniform(count)
    height, albedo = torch.zeros_like(x), torch.zeros_like(x)[:, None].repeat(1, 3, 1, 1)
    for number, recipe in enumerate(SHAPES):
        rows = (shape == number).nonzero()[:, 0]
        if len(rows):
            height[rows] = recipe.height(x[rows], y[rows], of_shape[rows], soft[rows])
    names = list(COLOURS)
    table = torch.tensor(list(COLOURS.values()), device=dice.device)
    palette = [torch.tensor([names.index(c) for c in recipe.colours], device=dice.device) for recipe in MATERIALS]
    each = torch.arange(count, device=dice.device)
    colour = torch.stack([p[(choice * len(p)).long()] for p in palette])[material, each]
    tone = (table[colour] + 0.05 * dice.normal(count, 3)).clamp(0.02, 0.98)
    for number, surface in enumerate(MATERIALS):
        rows = (material == number).nonzero()[:, 0]
        if len(rows):
            albedo[rows] = surface.albedo(x[rows], y[rows], noise[rows], tone[rows], of_material[rows])
    gloss = torch.tensor([m.gloss for m in MATERIALS], device=dice.device)[material]
    grain = torch.tensor([m.grain for m in MATERIALS], device=dice.device)[material]
    uneven = spread(grain) * (noise[:, 1] + 0.5 * noise[:, 2]) * (height / 0.03).clamp(0, 1)
    height = height * spread(dice.uniform(count, low=0.6, high=1.1))
    return Part((height + uneven).clamp(min=0), albedo, torch.zeros_like(x, dtype=torch.bool)), colour, gloss


def _faulty(
    dice: Dice, part: Part, view: Tensor, noise: Tensor, scale: Tensor, ease: float
) -> tuple[Part, Tensor, Tensor]:
    """The twins, where they are spoiled, and by what; some twice, of which captions name the first."""
    kind = draw_kinds(dice, view, ease)
    faulty, mask = spoil(part, draw_patches(dice, part, noise.roll(1, 0), scale, ease), kind)
    again = dice.chance(_TWICE, len(view))
    twice = spoil(faulty, draw_patches(dice, part, noise.roll(2, 0), scale, ease), draw_kinds(dice, view, ease))
    both = [torch.where(again.view(-1, *[1] * (f.ndim - 1)), g, f) for f, g in zip(faulty, twice[0], strict=True)]
    return Part(*both), mask | (twice[1] & spread(again)), kind


def _turn_views(
    dice: Dice, images: Tensor, masks: Tensor, twins: tuple[Part, Part], view: Tensor, scale: Tensor
) -> None:
    """Replace the images of turned views, in place; what a hole takes away is marked, too."""
    rows = view.nonzero()[:, 0]
    turns = draw_turn(dice, len(rows))
    for state, part in enumerate(twins):
        images[state, rows], marks = turn(
            images[state, rows], part.height[rows], part.hole[rows], masks[rows], turns, scale[rows]
        )
        if state == 0:
            before = marks  # a missing piece is marked where the flawless twin has it
    masks[rows] = before | marks


def _develop(dice: Dice, images: Tensor) -> Tensor:
    """Exposure and contrast of the camera, the same for twins."""
    count = images.shape[1]
    gamma = dice.log_uniform(count, 1, 1, 1, low=0.7, high=1.3)
    gain = dice.uniform(count, 1, 1, 1, low=0.85, high=1.15)
    return (images.clamp(min=1e-4) ** gamma * gain).clamp(0, 1)
