# SPDX-License-Identifier: Apache-2.0
"""Views of a rotated point cloud: grey points lit from the camera, as small squares on white, with gaps and noise."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from anomalib_clip3dad.geometry.views import rotation_matrix
from small_clip.defects import Part
from small_clip.fields import Dice, slopes, spread

_FAR = 1 << 40
_GREY = 0.7  # brightness of a surface that faces the light, as in the package's views
_NOISY, _NOISE = 0.7, 0.006  # share of scans with noise, and its largest standard deviation in part radii
_SPECKLED, _SPECKLES = 0.5, 0.04  # share of scans that lack single points, and largest share of these points
_RAGGED, _FLYING = 0.7, 0.4  # share of scans with flying points, and their largest share at steep edges
_EDGE, _STEEP = 5, 4.0  # pixels around a point, and the smallest step within them that is a steep edge
_WINDOWS = (3, 5, 7)  # pixels that normals are smoothed over, more if the scan is enlarged
_DEPTH_STEPS = 64  # steps per pixel: depths are compared exactly, as integers


class Scan(NamedTuple):
    """Noise and missing points of the scans of n parts, the same for both twins.

    Attributes:
        noise: (n, S, S), in part radii, added to the height.
        hole: (n, S, S) bool, true = not measured.
        flying: (n, S, S) bool, true = flying point near a steep edge, between its top and its foot.
        level: (n, S, S), height of flying points between foot (0) and top (1).
        window: (n,), index of the window that normals are smoothed over.
    """

    noise: Tensor
    hole: Tensor
    flying: Tensor
    level: Tensor
    window: Tensor


def draw_turn(dice: Dice, count: int) -> Tensor:
    """Draw angles about columns, rows and the line of sight (radians, up to 20 degrees each), and zoom: (n, 4)."""
    angles = dice.uniform(count, 3, low=-0.35, high=0.35)
    angles = torch.where(dice.chance(0.25, count, 3), 0.0, angles)
    return torch.cat([angles, dice.uniform(count, 1, low=0.9, high=1.25)], dim=1)


def draw_scan(dice: Dice, height: Tensor, noise: Tensor, scale: Tensor) -> Scan:
    """Draw the noise of scans, and points that are missing behind steep walls, at their edges, and at random.

    Args:
        dice: Source of random numbers.
        height: (n, S, S), height of the normal parts in part radii.
        noise: (n, 4, S, S), noise of all `PERIODS`.
        scale: (n,), pixels per part radius.

    Returns:
        The scan.
    """
    count, size = height.shape[0], height.shape[-1]
    side = dice.chance(0.5, count)
    step = torch.where(spread(side), height - height.roll(2, 1), height - height.roll(2, 2)) * spread(scale)
    behind_walls = step.abs() + noise[:, 0] > spread(dice.uniform(count, low=4, high=25))
    lacking = dice.uniform(count, high=_SPECKLES) * dice.chance(_SPECKLED, count)
    deviation = dice.uniform(count, high=_NOISE) * dice.chance(_NOISY, count)
    astray = dice.uniform(count, high=_FLYING) * dice.chance(_RAGGED, count)
    small = -(-size // 2)  # flying points come in blocks of two by two
    clumps = dice.uniform(2, count, small, small).repeat_interleave(2, 2).repeat_interleave(2, 3)[..., :size, :size]
    return Scan(
        noise=dice.normal(count, size, size) * spread(deviation),
        hole=behind_walls | (dice.uniform(count, size, size) < spread(lacking)),
        flying=clumps[0] < spread(astray),
        level=clumps[1],
        window=dice.below(len(_WINDOWS), count),
    )


def head_light(height: Tensor, rotations: Tensor, scale: Tensor, window: Tensor) -> Tensor:
    """Cosine between the rotated surfaces' normals and the line of sight.

    Args:
        height: (n, S, S), in part radii.
        rotations: (n, 3, 3), rotation of each part.
        scale: (n,), pixels per part radius.
        window: (n,), index of the window that heights are smoothed over.

    Returns:
        (n, S, S) in [0, 1].
    """
    means = [functional.avg_pool2d(height, side, 1, side // 2, count_include_pad=False) for side in _WINDOWS]
    smooth = torch.stack(means, dim=1).gather(1, window[:, None, None, None].expand(-1, 1, *height.shape[1:]))
    right, down = slopes(smooth[:, 0], scale)
    x, y, z = (spread(side) for side in rotations[:, 2].unbind(1))
    return ((x * right + y * down + z) * (right.square() + down.square() + 1).rsqrt()).clamp(0, 1)


def turn(part: Part, marks: Tensor, scan: Scan, turns: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Scan and rotate n parts, and draw their points, grey and lit from the camera.

    Args:
        part: The n parts; height 0 is background, which is not drawn.
        marks: (n, S, S) bool, a mask that is rotated as well.
        scan: Noise and missing points.
        turns: (n, 4), result of `draw_turn`.
        scale: (n,), pixels per part radius.

    Returns:
        (n, 3, S, S) RGB in [0, 1], white where there is no point, and the visible marks, (n, S, S) bool.
    """
    height = _at_edges((part.height + scan.noise).where(part.height > 0.02, part.height), scan, scale)
    hole = part.hole | scan.hole
    count, size = height.shape[0], height.shape[-1]
    line = torch.arange(size, device=height.device, dtype=height.dtype) - (size - 1) / 2
    up = height * spread(scale)
    up = up - spread(up.sum((1, 2)) / (height > 0.02).sum((1, 2)).clamp(min=1))
    points = torch.stack([line.expand_as(up), line[:, None].expand_as(up), -up], dim=1).reshape(count, 3, -1)
    about_columns, about_rows, about_sight, zoom = turns.unbind(1)
    # Eq. 1: the first angle rotates about z, the last about x, both in the opposite direction
    rotations = rotation_matrix(-about_sight, about_rows, -about_columns)
    turned = (rotations @ points) * spread(zoom)
    column, row = ((turned[:, axis] + size / 2).floor().long() for axis in (0, 1))
    inside = (column >= 0) & (column < size) & (row >= 0) & (row < size) & (height > 0.02).reshape(count, -1)
    depth = ((turned[:, 2] + 4 * size) * _DEPTH_STEPS).long()
    index = torch.arange(size * size, device=height.device)
    key = torch.where(inside, depth * (size * size) + index, _FAR)
    cell = torch.where(inside, row * size + column, 0)
    buffer = torch.full_like(key, _FAR).scatter_reduce(1, cell, key, "amin").view(count, size, size)
    buffer = _grow(buffer, _DEPTH_STEPS * size * size)
    point = torch.where(buffer < _FAR, buffer % (size * size), size * size).reshape(count, -1)

    shades = _GREY * head_light(height, rotations, scale, scan.window)
    shown = torch.cat([shades.masked_fill(hole, 1.0).reshape(count, -1), shades.new_ones(count, 1)], dim=1)
    marked = torch.cat([marks.reshape(count, -1), marks.new_zeros(count, 1)], dim=1)
    view = shown.gather(1, point).view(count, 1, size, size).expand(-1, 3, -1, -1)
    return view, marked.gather(1, point).view(count, size, size)


def _at_edges(height: Tensor, scan: Scan, scale: Tensor) -> Tensor:
    """Heights (n, S, S) with the flying points of steep edges, some of them beside the part."""
    top = functional.max_pool2d(height, _EDGE, 1, _EDGE // 2)
    foot = -functional.max_pool2d(-height, _EDGE, 1, _EDGE // 2)
    steep = (top - foot) * spread(scale) > _STEEP
    return torch.where(steep & scan.flying, foot + (top - foot) * scan.level, height)


def _grow(buffer: Tensor, price: int) -> Tensor:
    """Let every point fill a 3 x 3 square that recedes from the viewer by one pixel per pixel."""
    for axis in (1, 2):
        grown = buffer.clone()
        length = buffer.shape[axis] - 1
        for there, here in ((0, 1), (1, 0)):
            neighbour = buffer.narrow(axis, there, length)
            target = grown.narrow(axis, here, length)
            torch.minimum(target, torch.where(neighbour < _FAR, neighbour + price, _FAR), out=target)
        buffer = grown
    return buffer
