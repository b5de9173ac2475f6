# SPDX-License-Identifier: Apache-2.0
"""Missing measurements: where a part should have been measured but was not."""

import torch
from torch import Tensor
from torch.nn import functional

_WIDEST = 33  # pixels at 240: wider holes in the measurement count as background


def closed_part(foreground: Tensor) -> Tensor:
    """Fill the holes and notches of the measured part: a morphological closing with a square.

    Args:
        foreground: `(B, H, W)` bool, the measured points of the part.

    Returns:
        `(B, H, W)` bool: `foreground` and its gaps of up to 32 pixels, except those closer than that to the border
        of the image.

    Example:
        >>> foreground = torch.zeros(1, 60, 60, dtype=torch.bool)
        >>> foreground[:, 20:40, 20:40] = True
        >>> holed = foreground.clone()
        >>> holed[:, 25:30, 25:30] = False
        >>> bool((closed_part(holed) == foreground).all())
        True
    """
    inside = foreground
    for dim in (1, 2):  # dilation
        inside = _count_around(inside, dim) > 0
    for dim in (1, 2):  # erosion; outside the image is background
        inside = _count_around(inside, dim) > _WIDEST - 0.5
    return inside | foreground


def _count_around(mask: Tensor, dim: int) -> Tensor:
    """Count the true pixels in a window along one dimension, from sums up to each pixel: exact, of any window size."""
    border = (_WIDEST // 2 + 1, _WIDEST // 2)
    sums = functional.pad(mask.to(torch.float32), border if dim == 2 else (0, 0, *border)).cumsum(dim)
    size = mask.shape[dim]
    return sums.narrow(dim, _WIDEST, size) - sums.narrow(dim, 0, size)


def shares(mask: Tensor, grid: tuple[int, int]) -> Tensor:
    """Compute the share of each patch that a mask covers.

    Args:
        mask: `(B, H, W)` bool; H and W are multiples of the rows and columns of the grid.
        grid: Rows and columns of patches.

    Returns:
        `(B, *grid)` in [0, 1].
    """
    kernel = (mask.shape[1] // grid[0], mask.shape[2] // grid[1])
    return functional.avg_pool2d(mask[:, None].to(torch.float32), kernel)[:, 0]
