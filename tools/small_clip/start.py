# SPDX-License-Identifier: Apache-2.0
"""Initialisation of the vision tower, which otherwise would need most of its few training pairs to learn this."""

from typing import Any

import torch
from torch import Tensor

_POSITION_DEVIATION = 0.25  # standard deviation of the position embeddings


@torch.no_grad()
def order_positions(trunk: Any) -> None:
    """Set the position embeddings to sines and cosines of row and column, so that neighbours are similar.

    Beyer et al., "Better plain ViT baselines for ImageNet-1k" (arXiv 2205.01580), do the same but keep them fixed; here
    training continues from them.

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
    """Set mean and standard deviation of each of the stem's channels.

    Args:
        trunk: timm's vision transformer on the stem; changed in place.
        features: (N, 656, h, w), features of a few hundred training images.
    """
    channels = features.transpose(0, 1).flatten(1)
    trunk.patch_embed.mean.copy_(channels.mean(1))
    trunk.patch_embed.std.copy_(channels.std(1).clamp(min=1e-3))
