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
    inside = foreground[:, None].to(torch.float32)
    kernels = [(_WIDEST, 1), (1, _WIDEST)]
    for kernel in kernels:  # dilation
        inside = functional.max_pool2d(inside, kernel, 1, (kernel[0] // 2, kernel[1] // 2))
    for kernel in kernels:  # erosion: removes pixels with background in their window; outside the image is background
        filled = functional.avg_pool2d(inside, kernel, 1, (kernel[0] // 2, kernel[1] // 2))
        inside = (filled > 1 - 0.5 / _WIDEST).to(inside.dtype)
    return (inside[:, 0] > 0) | foreground


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
