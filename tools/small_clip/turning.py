# SPDX-License-Identifier: Apache-2.0
"""The look of a rotated point cloud: points drawn as small squares on white, with gaps, some under a head-light."""

import torch
from torch import Tensor
from torch.nn import functional

from small_clip.fields import Dice, slopes, spread

_FAR = 1 << 40
_LIT = 0.5  # share of views under a head-light
_DEPTH_STEPS = 64  # of a pixel: depths are compared as whole numbers, exactly


def _rotations(angles: Tensor) -> Tensor:
    """(n, 3) radians about columns, rows and the line of sight -> (n, 3, 3)."""
    (cx, cy, cz), (sx, sy, sz) = angles.cos().unbind(1), angles.sin().unbind(1)
    zero, one = torch.zeros_like(cx), torch.ones_like(cx)
    about_x = torch.stack([one, zero, zero, zero, cx, -sx, zero, sx, cx], 1).view(-1, 3, 3)
    about_y = torch.stack([cy, zero, sy, zero, one, zero, -sy, zero, cy], 1).view(-1, 3, 3)
    about_z = torch.stack([cz, -sz, zero, sz, cz, zero, zero, zero, one], 1).view(-1, 3, 3)
    return about_z @ about_y @ about_x


def draw_turn(dice: Dice, count: int) -> Tensor:
    """(n, 5): angles about columns, rows and the line of sight in radians, each up to 20 degrees, zoom, head-light."""
    angles = dice.uniform(count, 3, low=-0.35, high=0.35)
    angles = torch.where(dice.chance(0.25, count, 3), 0.0, angles)
    zoom, lit = dice.uniform(count, 1, low=0.9, high=1.25), dice.chance(_LIT, count, 1)
    return torch.cat([angles, zoom, lit.float()], dim=1)


def gaps(dice: Dice, height: Tensor, noise: Tensor, scale: Tensor) -> Tensor:
    """Where a scanner measures nothing on flawless parts: behind steep walls, more or less, (n, S, S) bool."""
    side = dice.chance(0.5, len(height))
    step = torch.where(spread(side), height - height.roll(2, 1), height - height.roll(2, 2)) * spread(scale)
    threshold = spread(dice.uniform(len(height), low=5, high=25))
    return step.abs() + noise[:, 0] > threshold


def head_light(height: Tensor, rotations: Tensor, scale: Tensor) -> Tensor:
    """Cosine between the turned surfaces' normals and the line of sight.

    Args:
        height: (n, S, S) in part radii.
        rotations: (n, 3, 3).
        scale: (n,) pixels of a part radius.

    Returns:
        (n, S, S) in [0, 1].
    """
    smooth = functional.avg_pool2d(height[:, None], 3, 1, 1, count_include_pad=False)
    right, down = slopes(smooth[:, 0], scale)
    x, y, z = (spread(side) for side in rotations[:, 2].unbind(1))
    return ((x * right + y * down + z) * (right.square() + down.square() + 1).rsqrt()).clamp(0, 1)


def turn(
    image: Tensor, height: Tensor, hole: Tensor, marks: Tensor, turns: Tensor, scale: Tensor
) -> tuple[Tensor, Tensor]:
    """Rotate n coloured height maps and draw their points.

    Args:
        image: (n, 3, S, S) RGB in [0, 1], the points' colours.
        height: (n, S, S) in part radii; 0 is background, which is not drawn.
        hole: (n, S, S) bool, not measured: white.
        marks: (n, S, S) bool, carried along.
        turns: (n, 5), `draw_turn`.
        scale: (n,) pixels of a part radius.

    Returns:
        (n, 3, S, S) RGB in [0, 1], white where nothing is, and the marks as the view shows them, (n, S, S) bool.
    """
    count, size = height.shape[0], height.shape[-1]
    line = torch.arange(size, device=height.device, dtype=height.dtype) - (size - 1) / 2
    up = height * spread(scale)
    up = up - spread(up.sum((1, 2)) / (height > 0.02).sum((1, 2)).clamp(min=1))
    points = torch.stack([line.expand_as(up), line[:, None].expand_as(up), -up], dim=1).reshape(count, 3, -1)
    rotations = _rotations(turns[:, :3])
    turned = (rotations @ points) * turns[:, 3, None, None]
    column, row = ((turned[:, axis] + size / 2).floor().long() for axis in (0, 1))
    inside = (column >= 0) & (column < size) & (row >= 0) & (row < size) & (height > 0.02).reshape(count, -1)
    depth = ((turned[:, 2] + 4 * size) * _DEPTH_STEPS).long()
    index = torch.arange(size * size, device=height.device)
    key = torch.where(inside, depth * (size * size) + index, _FAR)
    cell = torch.where(inside, row * size + column, 0)
    buffer = torch.full_like(key, _FAR).scatter_reduce(1, cell, key, "amin").view(count, size, size)
    buffer = _grow(buffer, _DEPTH_STEPS * size * size)
    point = torch.where(buffer < _FAR, buffer % (size * size), size * size).reshape(count, -1)

    light = torch.where(spread(turns[:, 4] > 0), head_light(height, rotations, scale), 1.0)
    image = image * light[:, None]
    shown = torch.cat([image.reshape(count, 3, -1), image.new_ones(count, 3, 1)], dim=2)
    shown[:, :, :-1].masked_fill_(hole.reshape(count, 1, -1), 1.0)
    marked = torch.cat([marks.reshape(count, -1), marks.new_zeros(count, 1)], dim=1)
    view = shown.gather(2, point[:, None].expand(-1, 3, -1)).view(count, 3, size, size)
    return view, marked.gather(1, point).view(count, size, size)


def _grow(buffer: Tensor, price: int) -> Tensor:
    """Let every point fill a 3 x 3 square that falls away from the viewer by one pixel per pixel."""
    for axis in (1, 2):
        grown = buffer.clone()
        length = buffer.shape[axis] - 1
        for there, here in ((0, 1), (1, 0)):
            neighbour = buffer.narrow(axis, there, length)
            target = grown.narrow(axis, here, length)
            torch.minimum(target, torch.where(neighbour < _FAR, neighbour + price, _FAR), out=target)
        buffer = grown
    return buffer
