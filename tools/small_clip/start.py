# SPDX-License-Identifier: Apache-2.0
"""Where the vision tower starts: a tower that sees few pairs would spend most of them on learning this by itself."""

from typing import Any

import torch
from torch import Tensor

_POSITION_DEVIATION = 0.25  # what a patch's place brings into the first block


@torch.no_grad()
def order_positions(trunk: Any) -> None:
    """Make neighbours alike: position embeddings of sines and cosines of row and column.

    Beyer et al., "Better plain ViT baselines for ImageNet-1k" (arXiv 2205.01580), do the same and keep them fixed; here
    they are trained on.

    Args:
        trunk: timm's vision transformer; changed in place.
    """
    (rows, columns), width = trunk.patch_embed.grid_size, trunk.pos_embed.shape[2]
    frequencies = 100.0 ** -torch.linspace(0, 1, width // 4)
    line = [torch.arange(side)[:, None] * frequencies for side in (rows, columns)]
    waves = [torch.cat([angle.sin(), angle.cos()], dim=1) for angle in line]
    grid = torch.cat([waves[0][:, None].expand(-1, columns, -1), waves[1].expand(rows, -1, -1)], dim=2)
    trunk.pos_embed[0, 1:] = 2**0.5 * _POSITION_DEVIATION * grid.reshape(rows * columns, width)


@torch.no_grad()
def standardise(trunk: Any, features: Tensor) -> None:
    """Note mean and standard deviation of each of the stem's channels.

    Args:
        trunk: timm's vision transformer on the stem; changed in place.
        features: (N, 656, h, w) of some hundred training images.
    """
    channels = features.transpose(0, 1).flatten(1)
    trunk.patch_embed.mean.copy_(channels.mean(1))
    trunk.patch_embed.std.copy_(channels.std(1).clamp(min=1e-3))
