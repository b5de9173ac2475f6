# SPDX-License-Identifier: Apache-2.0
"""Where a part should have been measured and was not."""

import torch
from torch import Tensor
from torch.nn import functional

_WIDEST = 33  # pixels of 240: a hole in the measurement that is wider counts as background


def closed_part(foreground: Tensor) -> Tensor:
    """Fill the holes and notches of the measured part: a morphological closing with a square.

    Args:
        foreground: `(B, H, W)` bool, the measured points of the part.

    Returns:
        `(B, H, W)` bool, all of `foreground` and the gaps in it of up to 32 pixels.

    Example:
        >>> line = torch.tensor([[[True, False, False, True, True]]])
        >>> closed_part(line).tolist()
        [[[True, True, True, True, True]]]
    """
    reach = _WIDEST // 2
    inside = functional.pad(foreground[:, None].to(torch.float32), (reach,) * 4)  # beside the picture there is no part
    for sign in (1, -1):  # grow, then shrink
        for kernel in ((_WIDEST, 1), (1, _WIDEST)):
            inside = sign * functional.max_pool2d(sign * inside, kernel, 1, (kernel[0] // 2, kernel[1] // 2))
    return inside[:, 0, reach:-reach, reach:-reach] > 0.5


def shares(mask: Tensor, grid: tuple[int, int]) -> Tensor:
    """Share of each patch that a mask covers.

    Args:
        mask: `(B, H, W)` bool; H and W are multiples of the grid's rows and columns.
        grid: rows and columns of patches.

    Returns:
        `(B, *grid)` in [0, 1].
    """
    kernel = (mask.shape[1] // grid[0], mask.shape[2] // grid[1])
    return functional.avg_pool2d(mask[:, None].to(torch.float32), kernel)[:, 0]
