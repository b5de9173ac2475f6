# SPDX-License-Identifier: Apache-2.0
"""Defects as edits of height and colour. Some kinds also exist in Toy3D, with different code.

All kinds use three patches that are made for all parts at once: a ragged blob, a jagged stroke and a piece of rim.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from small_clip.fields import Dice, chosen, ramp, spread

AREAS = (0.003, 0.10)  # share of the part's area that a defect covers, smallest and largest
_EASY_AREA = 0.03  # the smallest share at the start of training


class Part(NamedTuple):
    """Height and colour of n parts, seen from above.

    Attributes:
        height: (n, S, S), in part radii, 0 = background.
        albedo: (n, 3, S, S), in [0, 1].
        hole: (n, S, S) bool, true = not measured; only visible in rotated views.
    """

    height: Tensor
    albedo: Tensor
    hole: Tensor


class Patches(NamedTuple):
    """Places of possible defects and their variation, for n parts.

    Attributes:
        blob: (n, S, S) in [0, 1], soft and ragged, 1 in the middle.
        spot: (n, S, S) in [0, 1], the same with a sharp edge.
        stroke: (n, S, S) in [0, 1], a thin line.
        rim: (n, S, S) in [0, 1], increases from a line across the part to its end.
        noise: (n, 4, S, S), noise, fine to coarse.
        colour: (n, 3), colour that differs clearly from the one there.
        strange: (n, 3, S, S), albedo of another material.
        depth: (n, 1, 1), in part radii, 0.06 to 0.2.
        sign: (n, 1, 1), -1 or 1.
    """

    blob: Tensor
    spot: Tensor
    stroke: Tensor
    rim: Tensor
    noise: Tensor
    colour: Tensor
    strange: Tensor
    depth: Tensor
    sign: Tensor


class Kind(NamedTuple):
    """One kind of defect.

    Attributes:
        states: Phrases for captions, with {} for the part.
        edit: Function (part, patches) -> edited part and weight of the edit, (n, S, S) in [0, 1].
        conspicuous: Whether its colour makes it clearly visible.
        in_views: Relative frequency in rotated views, which only show geometry; 0 for defects in colour.
        in_photos: Relative frequency in photographs.
    """

    states: tuple[str, ...]
    edit: Callable[[Part, Patches], tuple[Part, Tensor]]
    conspicuous: bool = False
    in_views: float = 0.0
    in_photos: float = 1.0


def _paint(part: Part, colour: Tensor, weight: Tensor) -> Part:
    colour = colour[:, :, None, None] if colour.ndim == 2 else colour
    return part._replace(albedo=torch.lerp(part.albedo, colour.clamp(0, 1), weight[:, None].clamp(0, 1)))


def _move(part: Part, by: Tensor) -> Part:
    """Raise or lower the surface; the part keeps a minimum height, so that its outline stays."""
    floor = part.height.clamp(max=0.03)
    return part._replace(height=torch.maximum(part.height + by * (part.height > 0.02), floor))


def _dent(part: Part, at: Patches) -> tuple[Part, Tensor]:
    return _move(part, -at.depth * at.blob), at.blob


def _lump(part: Part, at: Patches) -> tuple[Part, Tensor]:
    return _move(part, at.depth * (at.blob * (2 - at.blob)).sqrt() * (1 + 0.1 * at.noise[:, 1])), at.blob


def _crack(part: Part, at: Patches) -> tuple[Part, Tensor]:
    return _paint(_move(part, -at.depth * at.stroke), 0.15 * part.albedo, 0.9 * at.stroke), at.stroke


def _scratch(part: Part, at: Patches) -> tuple[Part, Tensor]:
    return _paint(_move(part, -0.15 * at.depth * at.stroke), at.colour, 0.85 * at.stroke), at.stroke


def _groove(part: Part, at: Patches) -> tuple[Part, Tensor]:
    return _move(part, at.sign * at.depth * at.stroke), at.stroke


def _stain(part: Part, at: Patches) -> tuple[Part, Tensor]:
    soaked = part.albedo * (0.25 + 0.6 * at.colour[:, :, None, None])
    return _paint(part, soaked, ramp(2 * at.blob) * (0.75 + 0.2 * at.noise[:, 2])), at.blob


def _burn(part: Part, at: Patches) -> tuple[Part, Tensor]:
    dark = part.albedo * part.albedo.new_tensor([0.45, 0.32, 0.25])[:, None, None]
    return _paint(part, dark, at.blob * (0.9 + 0.3 * at.noise[:, 1])), at.blob


def _paint_spot(part: Part, at: Patches) -> tuple[Part, Tensor]:
    return _paint(part, at.colour, 0.95 * at.spot), at.spot


def _wrong_texture(part: Part, at: Patches) -> tuple[Part, Tensor]:
    return _paint(part, at.strange, at.spot), at.spot


def _contamination(part: Part, at: Patches) -> tuple[Part, Tensor]:
    bits = ramp(3 * at.noise[:, 1] - 0.5) * ramp(3 * at.blob)
    return _paint(_move(part, 0.3 * at.depth * bits), at.colour, 0.9 * bits), ramp(3 * at.blob)


def _foreign_body(part: Part, at: Patches) -> tuple[Part, Tensor]:
    raised = _move(part, at.depth * at.spot * (1 + 0.15 * at.noise[:, 1]))
    return _paint(raised, at.colour[:, :, None, None] * (1 + 0.12 * at.noise[:, :1]), at.spot), at.spot


def _corrosion(part: Part, at: Patches) -> tuple[Part, Tensor]:
    rough = _move(part, 0.2 * at.depth * at.noise[:, 0] * at.blob)
    return _paint(rough, at.colour, at.blob * ramp(0.5 + at.noise[:, 0])), at.blob


def _pierced(part: Part, at: Patches) -> tuple[Part, Tensor]:
    return part._replace(height=part.height * (1 - at.spot)), at.spot


def _broken_off(part: Part, at: Patches) -> tuple[Part, Tensor]:
    gone = ramp(8 * at.rim + 0.5 * at.noise[:, 1] * (at.rim > 0))
    return part._replace(height=part.height * (1 - gone)), gone


def _chip(part: Part, at: Patches) -> tuple[Part, Tensor]:
    rough = _move(part, -at.depth * at.spot * (1 + 0.3 * at.noise[:, 0]))
    raw = (0.75 - 0.5 * part.albedo.mean(1, keepdim=True)) * (1 + 0.15 * at.noise[:, :1])
    return _paint(rough, raw.expand_as(part.albedo), 0.8 * at.spot), at.spot


def _bent(part: Part, at: Patches) -> tuple[Part, Tensor]:
    return _move(part, 1.5 * at.sign * at.depth * at.rim), ramp(3 * at.rim)


def _worn(part: Part, at: Patches) -> tuple[Part, Tensor]:
    """Remove the pattern: stripped threads, worn treads, a filled slot."""
    level = functional.avg_pool2d(part.height[:, None], 15, 1, 7, count_include_pad=False)[:, 0]
    worn = torch.where(part.height > 0.02, torch.lerp(part.height, level, ramp(1.5 * at.blob)), part.height)
    return part._replace(height=worn), at.blob * ((worn - part.height).abs() > 0.006)


def _unmeasured(part: Part, at: Patches) -> tuple[Part, Tensor]:
    return part._replace(hole=part.hole | (at.spot > 0.5)), at.spot


KINDS: dict[str, Kind] = {
    "dent": Kind(("dented {}", "{} with a dent", "{} with a dented surface"), _dent, in_views=2),
    "lump": Kind(("{} with a lump", "{} with a bulge", "swollen {}"), _lump, in_views=2),
    "groove": Kind(("{} with a groove", "{} with a ridge", "gouged {}"), _groove, in_views=2),
    "bend": Kind(("bent {}", "{} with a bent edge", "deformed {}"), _bent, in_views=2),
    "worn": Kind(("worn {}", "{} with a damaged thread", "{} with a flattened patch"), _worn, in_views=1),
    "crack": Kind(("cracked {}", "{} with a crack", "cut {}"), _crack, conspicuous=True, in_views=1, in_photos=2),
    "scratch": Kind(("scratched {}", "{} with a scratch"), _scratch),
    "stain": Kind(("stained {}", "{} with a stain", "dirty {}"), _stain, conspicuous=True),
    "burn": Kind(("burnt {}", "discoloured {}", "{} with a dark spot"), _burn),
    "spot": Kind(("{} with a spot of paint", "{} with a wrong colour", "misprinted {}"), _paint_spot, conspicuous=True),
    "texture": Kind(("{} with a wrong texture", "{} with a patch of other material"), _wrong_texture, conspicuous=True),
    "contamination": Kind(("contaminated {}", "{} with contamination", "{} with dirt on it"), _contamination),
    "foreign": Kind(
        ("{} with a foreign body", "{} with something stuck to it"), _foreign_body, conspicuous=True, in_views=1
    ),
    "corrosion": Kind(("corroded {}", "{} with a rough patch"), _corrosion, in_views=0.5),
    "hole": Kind(("{} with a hole", "pierced {}"), _pierced, in_views=1),
    "piece": Kind(("broken {}", "{} with a missing piece", "incomplete {}"), _broken_off, in_views=1),
    "chip": Kind(("chipped {}", "{} with a chip", "{} with a piece broken out"), _chip, conspicuous=True, in_views=1),
    "unmeasured": Kind(("{} with missing points", "{} with a gap"), _unmeasured, in_views=4, in_photos=0),
}
NAMES = tuple(KINDS)


def _places(dice: Dice, part: Part, at_edge: Tensor) -> Tensor:
    """Draw pixels (n, 2), column and row, on the part; near its outline where `at_edge`."""
    count, size = part.height.shape[0], part.height.shape[-1]
    step = 4
    on_part = functional.avg_pool2d((part.height > 0.02).float()[:, None], step)[:, 0]
    around = functional.avg_pool2d(on_part[:, None], 5, 1, 2)[:, 0]
    weights = on_part * torch.where(spread(at_edge), (around < 0.8) + 1e-4, 1.0)
    index = dice.pick(weights.reshape(count, -1))
    cells = size // step
    cell = torch.stack([index % cells, index // cells], dim=1)
    return (cell + 0.5) * step + dice.uniform(count, 2, low=-2, high=2)


def draw_patches(dice: Dice, part: Part, noise: Tensor, scale: Tensor, ease: float = 0.0) -> Patches:
    """Draw places, sizes and depths of the defects.

    Args:
        dice: Source of random numbers.
        part: The normal parts.
        noise: (n, 4, S, S), noise, fine to coarse.
        scale: (n,), pixels per part radius.
        ease: From 0 (all sizes) to 1 (only large ones).

    Returns:
        The patches; blob, spot, stroke and rim cover about the same share of the part, drawn from `AREAS`.
    """
    count, size = part.height.shape[0], part.height.shape[-1]
    centre = _places(dice, part, dice.chance(0.25, count))
    smallest = AREAS[0] * (_EASY_AREA / AREAS[0]) ** ease
    area = (part.height > 0.02).sum((1, 2)).clamp(min=60) * dice.log_uniform(count, low=smallest, high=AREAS[1])
    turn = dice.uniform(count, high=2 * torch.pi)
    line = torch.arange(size, device=noise.device) + 0.5
    right, down = line[None, None] - spread(centre[:, 0]), line[None, :, None] - spread(centre[:, 1])
    along = right * spread(turn.cos()) + down * spread(turn.sin())
    across = down * spread(turn.cos()) - right * spread(turn.sin())
    blob, spot = _blob(dice, along, across, area, noise)
    stroke = _stroke(dice, along, across, area, noise, 0.8 * scale)
    rim = _rim(part, turn, area)
    here = (part.albedo * spot[:, None]).sum((2, 3)) / spot.sum((1, 2))[:, None].clamp(min=1)
    colour = _contrasting(dice, here)
    depth = spread(dice.log_uniform(count, low=0.06, high=0.2))
    sign = spread(dice.chance(0.5, count).float() * 2 - 1)
    return Patches(blob, spot, stroke, rim, noise, colour, part.albedo.roll(1, 0), depth, sign)


def _blob(dice: Dice, along: Tensor, across: Tensor, area: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Make the soft and the sharp blob of about `area` pixels."""
    aspect = dice.log_uniform(len(area), low=1, high=2.2).sqrt()
    radius = (area / torch.pi).sqrt().clamp(min=2.2)
    reach = ((along / spread(radius * aspect)).square() + (across / spread(radius / aspect)).square()).sqrt()
    reach = reach + spread(dice.uniform(len(area), high=0.25)) * noise[:, 2] + spread(0.3 / radius) * noise[:, 1]
    return ramp(1.25 - reach), ramp((1 - reach) * spread(radius) / 1.5 + 0.5)


def _stroke(dice: Dice, along: Tensor, across: Tensor, area: Tensor, noise: Tensor, longest: Tensor) -> Tensor:
    """Make a thin, wavy and more or less jagged line of about `area` pixels, half of it up to `longest`."""
    width = dice.log_uniform(len(area), low=1.4, high=4.5)
    half = (area / width / 2).clamp(min=5).minimum(longest)
    swing, waves = dice.uniform(len(area), high=0.35), dice.uniform(len(area), high=4)
    sway = spread(swing * half) * (along / spread(half) * spread(waves)).sin()
    jag = spread(dice.uniform(len(area), high=2.5)) * noise[:, 1]
    thin = (1 - (along / spread(half)).square()).clamp(min=0).sqrt()
    return ramp((0.5 * spread(width) * thin - (across + sway + jag).abs()) / 1.2 + 0.5) * (thin > 0)


def _rim(part: Part, turn: Tensor, area: Tensor) -> Tensor:
    """Make a field from 0 at a line across the part, perpendicular to `turn`, to 1 at the part's end beyond it."""
    size = part.height.shape[-1]
    line = torch.arange(size, device=turn.device) + 0.5 - size / 2
    ahead = line[None, None] * spread(turn.cos()) + line[None, :, None] * spread(turn.sin())
    end = ahead.masked_fill(part.height <= 0.02, -1e4).amax((1, 2))
    back = end - (area / 1.1).sqrt().clamp(min=4)
    return ((ahead - spread(back)) / spread(end - back)).clamp(0, 1)


def _contrasting(dice: Dice, here: Tensor) -> Tensor:
    """Draw colours (n, 3) that differ clearly from those in (n, 3)."""
    colour = dice.uniform(len(here), 3)
    near = (colour - here).abs().amax(1, keepdim=True) < 0.3
    return torch.where(near, (here > 0.45).float().mul(-0.9).add(0.95).expand(-1, 3), colour)


def draw_kinds(dice: Dice, view: Tensor, ease: float = 0.0) -> Tensor:
    """Draw the kind of defect of each part.

    Args:
        dice: Source of random numbers.
        view: (n,) bool, true = view of a rotated point cloud; some defects are only visible there.
        ease: From 0 (all kinds) to 1 (only conspicuous ones).

    Returns:
        (n,), indices into `NAMES`.
    """
    photos = [kind.in_photos * (1.0 if kind.conspicuous else 1.0 - ease) for kind in KINDS.values()]
    views = [kind.in_views for kind in KINDS.values()]  # in views no kind is more conspicuous than others
    return dice.pick(torch.tensor([photos, views], device=dice.device)[view.long()])


def spoil(part: Part, patches: Patches, kind: Tensor) -> tuple[Part, Tensor]:
    """Apply its kind of defect to each part.

    Args:
        part: The n normal parts.
        patches: Places and variation of the defects.
        kind: (n,), indices into `NAMES`.

    Returns:
        The edited parts and the masks, (n, S, S) bool, inside the normal parts.
    """
    height, albedo, hole = (field.clone() for field in part)
    mask = torch.zeros_like(part.hole)
    for drawn, rows in chosen(tuple(KINDS.values()), kind):
        edited, where = drawn.edit(Part(*(f[rows] for f in part)), Patches(*(f[rows] for f in patches)))
        height[rows], albedo[rows], hole[rows] = edited
        mask[rows] = where > 0.3
    return Part(height, albedo, hole), mask & (part.height > 0.02)
