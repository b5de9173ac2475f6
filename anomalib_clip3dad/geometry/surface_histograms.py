# SPDX-License-Identifier: Apache-2.0
"""How a surface bends within each patch of an organised cloud, from windows of pixels: FPFH's angles in a graph."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from .organised import check_shape
from .shading import surface_normals

_BINS = 11  # of each of the three angles, as FPFH has
_RADIUS = 4  # pixels between a point and its neighbours
_NEIGHBOURS = 12


def surface_histograms(xyz: Tensor, foreground: Tensor, grid: tuple[int, int]) -> Tensor:
    """Describe how the surface bends within each patch, whichever way it is turned in the picture.

    The three angles between a point's normal, its neighbour's and the line between them are those of FPFH (Rusu et al.,
    ICRA 2009), but the neighbours are twelve pixels on a circle instead of the nearest points in a tree, and all pairs
    of a patch go into one histogram. A value counts in the two bins next to it, so that rounding moves no histogram.
    Beyond the papers: our choice, since no tree can be exported.

    Args:
        xyz: `(B, 3, H, W)`, metres, sensor frame; finite in the foreground, anything else outside.
        foreground: `(B, H, W)` bool, the measured points of the part.
        grid: rows and columns of patches; H and W are multiples of them.

    Returns:
        `(B, 33, *grid)`, 11 bins of each angle, averaged over 3 x 3 patches: square roots of shares, so that distances
        are Hellinger's; zeros where no pair is near.

    Raises:
        ValueError: `xyz` is not `(B, 3, H, W)`.

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
    counts = xyz.new_zeros(xyz.shape[0], 3 * _BINS, *grid)
    pairs = xyz.new_zeros(xyz.shape[0], 1, *grid)
    border = (_RADIUS,) * 4
    around = [functional.pad(each, border) for each in (known, normals, shown)]
    for row, column in _circle():
        window = (..., slice(row, row + size[0]), slice(column, column + size[1]))
        points, directions, there = (each[window] for each in around)
        both = (shown & there).to(xyz.dtype)
        angles = _pair_angles(points - known, normals, directions)
        counts = counts + torch.cat([functional.avg_pool2d(both * bins, kernel) for bins in map(_soft_bins, angles)], 1)
        pairs = pairs + functional.avg_pool2d(both, kernel)
    counts, pairs = (functional.avg_pool2d(each, 3, 1, 1) for each in (counts, pairs))
    return (counts / pairs.clamp(min=1e-6)).clamp(min=0).sqrt()


def _circle() -> Iterator[tuple[int, int]]:
    """Row and column of each neighbour's window in what is padded by the radius."""
    for step in range(_NEIGHBOURS):
        angle = 2 * math.pi * step / _NEIGHBOURS
        yield _RADIUS + round(_RADIUS * math.sin(angle)), _RADIUS + round(_RADIUS * math.cos(angle))


def _pair_angles(line: Tensor, normal: Tensor, other: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Theta / pi, alpha and phi of FPFH, each (B, 1, H, W) in [-1, 1]; 0 where no frame can be drawn."""
    squared = line.square().sum(dim=1, keepdim=True)
    along, along_other, between = (
        (one * two).sum(dim=1, keepdim=True) for one, two in ((line, normal), (line, other), (normal, other))
    )
    across = (line * torch.linalg.cross(normal, other, dim=1)).sum(dim=1, keepdim=True)
    length = (squared - along.square()).clamp(min=1e-16).sqrt()
    theta = torch.atan2(along_other - along * between, length * between) / math.pi
    return theta, across / length, along / squared.clamp(min=1e-16).sqrt()


def _soft_bins(value: Tensor) -> Tensor:
    """Share of each bin (B, 11, H, W) in values (B, 1, H, W) of [-1, 1]."""
    centres = torch.arange(_BINS, dtype=value.dtype, device=value.device)[:, None, None]
    place = (value.clamp(-1, 1) + 1) * (_BINS - 1) / 2
    return (1 - (place - centres).abs()).clamp(min=0)
