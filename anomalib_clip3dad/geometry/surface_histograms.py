# SPDX-License-Identifier: Apache-2.0
"""Local surface shape in each patch of an organised cloud: histograms of FPFH's angles that can be exported."""

import math
from collections.abc import Iterator

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional

from .organised import check_shape
from .shading import surface_normals

_BINS = 11  # of each of the three angles, as FPFH has
_RADIUS = 4  # pixels from a point to its neighbours
_NEIGHBOURS = 12


def surface_histograms(xyz: Tensor, foreground: Tensor, grid: tuple[int, int]) -> Tensor:
    """Describe the local surface shape in each patch, independently of its rotation in the image.

    The three angles between a point's normal, its neighbour's and the line between them are those of FPFH (Rusu et al.,
    ICRA 2009), but the neighbours are twelve pixels on a circle instead of the nearest points in a tree, which cannot
    be exported, and all pairs of a patch go into one histogram. A value is shared between the two nearest bins, so that
    rounding changes no histogram. This is our choice, in neither paper.

    Args:
        xyz: `(B, 3, H, W)`, metres, sensor frame; finite in the foreground, any values outside.
        foreground: `(B, H, W)` bool, the measured points of the part.
        grid: Rows and columns of patches; H and W must be multiples of them.

    Returns:
        `(B, 33, *grid)`, 11 bins for each angle, averaged over 3 x 3 patches. Square roots of the shares, so that
        distances are Hellinger distances; zeros where there is no pair.

    Raises:
        ValueError: If `xyz` is not `(B, 3, H, W)`.

    Example:
        >>> y, x = torch.meshgrid(torch.linspace(-0.1, 0.1, 32), torch.linspace(-0.1, 0.1, 32), indexing="ij")
        >>> flat = torch.stack((x, y, 0.5 + 0 * x))[None]
        >>> histogram = surface_histograms(flat, torch.ones(1, 32, 32, dtype=torch.bool), (2, 2))[0, :, 0, 0]
        >>> histogram.square().round(decimals=2).nonzero()[:, 0].tolist()  # all angles are 0: the middle bins
        [5, 16, 27]
    """
    check_shape("xyz", xyz, "(B, 3, H, W)")
    known = xyz.where(foreground[:, None], 0.0)
    normals = surface_normals(known, foreground)
    shown = (foreground & (normals.square().sum(dim=1) > 0))[:, None]
    size, kernel = xyz.shape[-2:], (xyz.shape[-2] // grid[0], xyz.shape[-1] // grid[1])
    above = xyz.new_zeros(xyz.shape[0], 3 * (_BINS - 1), *grid)
    pairs = xyz.new_zeros(xyz.shape[0], 1, *grid)
    border = (_RADIUS,) * 4
    around = [functional.pad(each, border) for each in (known, normals, shown)]
    for row, column in _circle():
        window = (..., slice(row, row + size[0]), slice(column, column + size[1]))
        points, directions, there = (each[window] for each in around)
        both = shown & there
        angles = torch.cat(_pair_angles(points - known, normals, directions), dim=1)
        above = above + functional.avg_pool2d(_above_centres(angles, both), kernel)
        pairs = pairs + functional.avg_pool2d(both.to(xyz.dtype), kernel)
    above, pairs = (functional.avg_pool2d(each, 3, 1, 1) for each in (above, pairs))
    above = rearrange(above, "b (a c) h w -> b a c h w", a=3)
    steps = torch.cat([pairs[:, None].expand(-1, 3, -1, -1, -1), above, torch.zeros_like(above[:, :, :1])], dim=2)
    counts = (steps[:, :, :-1] - steps[:, :, 1:]).flatten(1, 2)
    return (counts / pairs.clamp(min=1e-6)).clamp(min=0).sqrt()


def _circle() -> Iterator[tuple[int, int]]:
    """First row and column of each neighbour's window in maps padded by the radius."""
    for step in range(_NEIGHBOURS):
        angle = 2 * math.pi * step / _NEIGHBOURS
        yield _RADIUS + round(_RADIUS * math.sin(angle)), _RADIUS + round(_RADIUS * math.cos(angle))


def _pair_angles(line: Tensor, normal: Tensor, other: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Theta / pi, alpha and phi of FPFH, each (B, 1, H, W) in [-1, 1]; 0 where the frame is undefined."""
    squared = line.square().sum(dim=1, keepdim=True)
    along, along_other, between = (
        (one * two).sum(dim=1, keepdim=True) for one, two in ((line, normal), (line, other), (normal, other))
    )
    across = (line * torch.linalg.cross(normal, other, dim=1)).sum(dim=1, keepdim=True)
    length = (squared - along.square()).clamp(min=1e-16).sqrt()
    theta = torch.atan2(along_other - along * between, length * between) / math.pi
    return theta, across / length, along / squared.clamp(min=1e-16).sqrt()


def _above_centres(values: Tensor, valid: Tensor) -> Tensor:
    """How far values (B, A, H, W) in [-1, 1] lie above the centre of each bin but the last, at most 1: (B, A 10, H, W).

    Differences between neighbours are the weights of the bins: 1 - |place - centre|, at least 0; exactly 0 for an empty
    bin. Writing the weights would take three times as long. Not valid (B, 1, H, W) = 0.
    """
    centres = torch.arange(_BINS - 1.0, dtype=values.dtype, device=values.device)[:, None, None]
    place = ((values.clamp(-1, 1) + 1) * (_BINS - 1) / 2).where(valid, 0.0)
    return (place[:, :, None] - centres).clamp_(0, 1).flatten(1, 2)  # in place: the largest tensor
