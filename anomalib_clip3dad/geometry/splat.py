# SPDX-License-Identifier: Apache-2.0
"""The render function of Eq. 3: a z-buffer of squares that are as large as the gaps between the points."""

import math
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional

from .camera import Camera

# Growth of a splat per step in pixels, at most one pixel more than it already covers. Every radius up to 15 is the sum
# of some of them in this order.
_SHIFTS = (1, 2, 4, 8, 4, 2, 1)

MAX_RADIUS = 15
"""Largest splat radius in pixels: 15 closes the surface of an object that is a dozen points wide, at 240 pixels."""

# The nearest lattice point to any place is at most sqrt(1/2) of the spacing away, however the lattice is turned.
_REACH = math.sqrt(0.5)


class ZBuffer(NamedTuple):
    """Depth and index of the point that each pixel of each view shows.

    Attributes:
        depth: `(B, v, S, S)`, in pixels (`depth_in_pixels`), +inf = no point.
        point: `(B, v, S, S)` int32, index of the point shown; the number of points = no point.
    """

    depth: Tensor
    point: Tensor


def ray_spacing(xyz: Tensor, foreground: Tensor) -> Tensor:
    """Measure the spacing of neighbouring points of an organised cloud, as seen from the sensor.

    The paper does not specify this; our choice. Distances are taken across the line of sight, so that a step in depth
    is not a gap. A pinhole sensor has equal steps in x / z, a line scanner in x; the smaller one is right for both.

    Args:
        xyz: `(B, 3, H, W)`, metres, sensor frame, finite.
        foreground: `(B, H, W)` bool.

    Returns:
        `(B,)`: metres of spacing per metre of depth; 0 where no two foreground pixels are neighbours.
    """
    rows = _largest_step(xyz[..., :-1, :], xyz[..., 1:, :], foreground[:, :-1] & foreground[:, 1:])
    columns = _largest_step(xyz[..., :-1], xyz[..., 1:], foreground[..., :-1] & foreground[..., 1:])
    return torch.maximum(rows, columns)


def _largest_step(one: Tensor, other: Tensor, pairs: Tensor) -> Tensor:
    """Largest regular step (B,) between (B, 3, h, w) points and their neighbours where `pairs` is true."""
    depths = one[:, 2:].clamp(min=1e-6), other[:, 2:].clamp(min=1e-6)
    ray = one[:, :2] / depths[0] - other[:, :2] / depths[1]
    flat = (one[:, :2] - other[:, :2]) / torch.maximum(*depths)
    step = torch.minimum(ray.square().sum(dim=1), flat.square().sum(dim=1)).sqrt()
    # a cloud enlarged by nearest neighbour repeats its points: such steps of zero are not the spacing
    step = step * pairs
    mean = step.sum(dim=(1, 2)) / (step > 0).sum(dim=(1, 2)).clamp(min=1)
    # one shrunk by nearest neighbour has steps of up to twice the mean; a longer step is a jump between surfaces
    return torch.minimum(step.amax(dim=(1, 2)), 2 * mean)


def splat_radius(spacing: Tensor, enlargement: Tensor, focal: float) -> Tensor:
    """Choose the splat radius that leaves no hole in a surface facing the sensor.

    The paper does not specify this; our choice. Every place on the surface has a point within sqrt(1/2) spacings, and
    rounding that point to its pixel moves it by at most half a pixel.

    Args:
        spacing: `(B,)`, result of `ray_spacing`.
        enlargement: `(B,)`, largest ratio among the drawn points of depth from the sensor to depth from the rendering
            camera.
        focal: Focal length of the rendering camera in pixels.

    Returns:
        `(B,)` float with integer values 0 .. `MAX_RADIUS`, pixels: a splat is a square of 2 radius + 1 pixels.

    Example:
        >>> splat_radius(torch.tensor([0.001, 0.005]), torch.tensor([2.0, 2.0]), 200.0)
        tensor([0., 1.])
    """
    return (_REACH * focal * spacing * enlargement + 0.5).floor().clamp(max=MAX_RADIUS)


def depth_in_pixels(depth: Tensor, camera: Camera) -> Tensor:
    """Convert depth to pixels (the length that one pixel spans at the camera's distance), rounded to 1/1024.

    The paper does not specify this; our choice. Float32 adds such numbers exactly, in any order, up to 16384 pixels,
    and the drawn points of a view of S pixels lie within about 3 S.

    Args:
        depth: `(B, v, N)`, metres, +inf allowed.
        camera: Camera of each sample.

    Returns:
        `(B, v, N)`, pixels, multiples of 1/1024, +inf where `depth` is.
    """
    # the factor is rounded to steps of 64 (1 in 30 000 for a hand-sized part), so that it is the same in every runtime
    factor = (1024 / camera.pixel_size / 64).round().clamp(min=1) * 64
    return (depth * factor[..., None]).round() / 1024


def z_buffer(cells: Tensor, depth: Tensor, size: int) -> ZBuffer:
    """Keep the nearest point of every pixel.

    CLIP3D-AD, Eq. 3, for points of one pixel. Among equally near points the lowest index wins.

    Args:
        cells: `(B, v, N)` int64, row * size + column of every point's pixel.
        depth: `(B, v, N)`, result of `depth_in_pixels`, +inf = not drawn (its cell may be any).
        size: Rows and columns of the image.

    Returns:
        The z-buffer.
    """
    batch, views, count = depth.shape
    nearest = depth.new_full((batch, views, size * size), math.inf).scatter_reduce(2, cells, depth, "amin")
    index = torch.arange(count, dtype=torch.int32, device=depth.device)
    winner = (depth == nearest.gather(2, cells)) & (depth < math.inf)
    point = torch.full_like(nearest, count, dtype=torch.int32)
    point = point.scatter_reduce(2, cells, index.where(winner, count), "amin")
    return ZBuffer(*(rearrange(values, "b v (r c) -> b v r c", r=size) for values in (nearest, point)))


def grow(buffer: ZBuffer, radius: Tensor) -> ZBuffer:
    """Grow every point of a z-buffer into a splat.

    CLIP3D-AD, Eq. 3; the paper does not specify the splat. Ours is a square that recedes from the camera by one pixel
    size per column and per row from its centre. Flat squares on a tilted surface would be covered by their nearer
    neighbours, which would shift the image by one radius against P_2D.

    Args:
        buffer: Result of `z_buffer`.
        radius: `(B,)`, whole pixels, at most `MAX_RADIUS`.

    Returns:
        The z-buffer of the splats. At equal depth the point of the same column wins, then the nearest to the right,
        then the nearest to the left; within a column likewise the same row, then below, then above.
    """
    shifts = _shifts(radius)
    for axis in (2, 3):
        for towards_end in (True, False):
            for shift, price in shifts:
                buffer = _pull(buffer, axis, towards_end, shift, price)
    return buffer


def _shifts(radius: Tensor) -> list[tuple[int, Tensor]]:
    """Shifts that add up to each sample's radius, with their cost in depth (B, 1, 1, 1) in pixels; +inf = not used."""
    reach, shifts = torch.zeros_like(radius), []
    for shift in _SHIFTS:
        taken = (shift <= reach + 1) & (reach + shift <= radius)
        reach = reach + shift * taken
        shifts.append((shift, torch.where(taken, float(shift), math.inf)[:, None, None, None]))
    if radius.is_cuda or torch.compiler.is_compiling():
        return shifts
    # on a CPU reading the values costs nothing, and most clouds need one or two shifts
    return [(shift, price) for shift, price in shifts if price.isfinite().any()]


def _pull(buffer: ZBuffer, axis: int, towards_end: bool, shift: int, price: Tensor) -> ZBuffer:
    """Let each pixel show the nearer of itself and the pixel `shift` beyond it along one axis.

    A window of m pixels and a copy shifted by at most m pixels make a larger window, so a few shifts replace 15
    comparisons. Depth is in pixels so that a shift costs a whole number and sums are exact in any grouping.
    """
    rest = buffer.depth.shape[axis] - shift
    beyond = (0, shift) if towards_end else (shift, 0)
    padding = beyond if axis == 3 else (0, 0, *beyond)
    start = shift if towards_end else 0
    depth = functional.pad(buffer.depth.narrow(axis, start, rest), padding, value=math.inf) + price
    point = functional.pad(buffer.point.narrow(axis, start, rest), padding)
    return ZBuffer(torch.minimum(depth, buffer.depth), point.where(depth < buffer.depth, buffer.point))


def visible_points(buffer: ZBuffer, cells: Tensor, depth: Tensor, radius: Tensor) -> Tensor:
    """Find the points that no other surface hides.

    The paper does not specify this; our choice. A surface that is not flat must not hide itself: across a splat and the
    pixel that rounding adds, it may recede by twice that width, in addition to the slope of the splats themselves. Any
    point farther back is behind another surface.

    Args:
        buffer: Result of `grow`.
        cells: `(B, v, N)` int64, as for `z_buffer`.
        depth: `(B, v, N)`, as for `z_buffer`.
        radius: `(B,)`, pixels.

    Returns:
        `(B, v, N)` bool; false for points that are not drawn.
    """
    front = rearrange(buffer.depth, "b v r c -> b v (r c)").gather(2, cells)
    tolerance = 2 * (radius + 1)
    return (depth <= front + tolerance[:, None, None]) & (depth < math.inf)
