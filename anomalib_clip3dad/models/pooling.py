# SPDX-License-Identifier: Apache-2.0
"""From features of pixels to features of patches."""

from torch import Tensor
from torch.nn import functional


def pool_to_grid(maps: Tensor, grid: tuple[int, int]) -> Tensor:
    """Average features of pixels to features of patches as in BTF: over 3 x 3 pixels, then over each patch.

    Args:
        maps: `(B, C, H, W)`, features of pixels.
        grid: Rows and columns of patches.

    Returns:
        `(B, C, *grid)`, features of patches.

    Example:
        >>> import torch
        >>> pool_to_grid(torch.arange(16.0).reshape(1, 1, 4, 4), (1, 2)).tolist()
        [[[[7.0, 8.0]]]]
    """
    return functional.adaptive_avg_pool2d(functional.avg_pool2d(maps, 3, stride=1), grid)
