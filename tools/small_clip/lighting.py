# SPDX-License-Identifier: Apache-2.0
"""A photograph from above: background, lamp, highlights, soft occlusion, cast shadows, and sensor noise."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from small_clip.defects import Part
from small_clip.fields import Dice, ramp, slopes, spread

_DARK = 0.45  # share of tables that are nearly black, as with many scanners
_DUSTY = 0.3  # share of images with specks
_SHADOW_STEPS = (0.06, 0.14, 0.26, 0.42)  # distances in part radii at which blockers are searched


class Conditions(NamedTuple):
    """Conditions of the photographs of n parts, the same for both twins.

    Attributes:
        background: (n, 3, S, S) in [0, 1].
        lamp: (n, 3) unit vector from the part to the lamp; columns, rows, up.
        power: (n, 1, 1), strength of the lamp.
        ambient: (n, 1, 1), strength of the light from all directions.
        tint: (n, 3, 1, 1), colour of the lamp.
        gloss: (n, 1, 1), strength of the highlight.
        occlusion: (n, 1, 1), darkening of hollows.
        grain: (n, 3, S, S), noise of the sensor.
    """

    background: Tensor
    lamp: Tensor
    power: Tensor
    ambient: Tensor
    tint: Tensor
    gloss: Tensor
    occlusion: Tensor
    grain: Tensor


def draw_conditions(dice: Dice, noise: Tensor, gloss: Tensor) -> Conditions:
    """Draw a table, a lamp and a sensor.

    Args:
        dice: Source of random numbers.
        noise: (n, 4, S, S), noise for the table's texture.
        gloss: (n,), gloss of the material.

    Returns:
        The conditions.
    """
    count, size = noise.shape[0], noise.shape[-1]
    grey = dice.uniform(count, 1).expand(-1, 3) * 0.9 + 0.05
    grey = torch.where(dice.chance(_DARK, count, 1), 0.1 * grey, grey)
    colour = torch.where(dice.chance(0.3, count, 1), dice.uniform(count, 3), grey * (1 + 0.15 * dice.normal(count, 3)))
    texture = (noise * dice.uniform(count, 4, 1, 1, high=0.035)).sum(1, keepdim=True)
    line = torch.linspace(-1, 1, size, device=noise.device)
    tilt = dice.normal(count, 2, 1, 1) * 0.06
    slope = tilt[:, :1] * line[:, None] + tilt[:, 1:] * line
    background = (colour[:, :, None, None] * (1 + texture + slope)).clamp(0, 1)
    azimuth, elevation = dice.uniform(count, high=2 * torch.pi), dice.uniform(count, low=0.65, high=1.35)
    flat = elevation.cos()
    return Conditions(
        background=background,
        lamp=torch.stack([flat * azimuth.cos(), flat * azimuth.sin(), elevation.sin()], dim=1),
        power=spread(dice.uniform(count, low=0.4, high=1.1)),
        ambient=spread(dice.uniform(count, low=0.06, high=0.55)),
        tint=(1 + 0.05 * dice.normal(count, 3))[:, :, None, None],
        gloss=spread(gloss * dice.uniform(count, low=0.4, high=1.2)),
        occlusion=spread(dice.uniform(count, high=4)),
        grain=dice.normal(count, 3, size, size) * dice.uniform(count, 1, 1, 1, high=0.02) + _dust(dice, count, size),
    )


def _dust(dice: Dice, count: int, size: int) -> Tensor:
    """Bright specks of one pixel, (n, 1, S, S), in some of the images."""
    specks = dice.chance(0.002, count, 1, size, size) & dice.chance(_DUSTY, count, 1, 1, 1)
    return specks * dice.uniform(count, 1, 1, 1, low=0.05, high=0.3)


def _shadow(height: Tensor, lamp: Tensor, scale: Tensor) -> Tensor:
    """Share (n, S, S) of the lamp's light that higher places block."""
    count, size = height.shape[0], height.shape[-1]
    line = torch.arange(size, device=height.device)
    flat = height.reshape(count, -1)
    run = lamp[:, :2].norm(dim=1)
    deepest = torch.zeros_like(height)
    for distance in _SHADOW_STEPS:
        offset = (distance * scale[:, None] * lamp[:, :2] / run[:, None]).round().long()
        columns = (line[None] + offset[:, :1]).clamp(0, size - 1)
        rows = (line[None] + offset[:, 1:]).clamp(0, size - 1)
        index = (rows[:, :, None] * size + columns[:, None]).reshape(count, -1)
        blocker = flat.gather(1, index).view_as(height) - spread(distance * lamp[:, 2] / run)
        deepest = torch.maximum(deepest, blocker - height)
    return functional.avg_pool2d(ramp(deepest / 0.08)[:, None], 3, 1, 1, count_include_pad=False)[:, 0]


def photograph(part: Part, conditions: Conditions, scale: Tensor) -> Tensor:
    """Render lit parts from above.

    Args:
        part: The n parts.
        conditions: Table, lamp and sensor.
        scale: (n,), pixels per part radius.

    Returns:
        (n, 3, S, S) RGB in [0, 1].
    """
    height = part.height
    right, down = slopes(height, scale)
    length = (right.square() + down.square() + 1).rsqrt()
    lamp = [spread(axis) for axis in conditions.lamp.unbind(1)]
    open_sky = 1 - 0.85 * _shadow(height, conditions.lamp, scale)
    diffuse = ((lamp[2] - right * lamp[0] - down * lamp[1]) * length).clamp(min=0) * open_sky
    halfway = functional.normalize(conditions.lamp + conditions.lamp.new_tensor([0.0, 0.0, 1.0]), dim=1)
    half = [spread(axis) for axis in halfway.unbind(1)]
    shine = ((half[2] - right * half[0] - down * half[1]) * length).clamp(min=0).pow(20) * open_sky
    coarse = functional.avg_pool2d(functional.avg_pool2d(height[:, None], 4), 3, 1, 1, count_include_pad=False)
    dip = functional.interpolate(coarse, scale_factor=4.0, mode="bilinear")[:, 0] - height
    ambient = conditions.ambient / (1 + conditions.occlusion * dip.clamp(min=0))
    on_part = (height / 0.03).clamp(0, 1)
    surface = torch.lerp(conditions.background, part.albedo, on_part[:, None])
    light = (conditions.power * diffuse)[:, None] * conditions.tint + ambient[:, None]
    lit = surface * light + (conditions.gloss * conditions.power * shine * on_part)[:, None]
    return (lit + conditions.grain).clamp(0, 1)
