# SPDX-License-Identifier: Apache-2.0
"""Where the vision tower starts: a tower that sees few pairs would spend most of them on learning this by itself."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

_PATCH_DEVIATION, _POSITION_DEVIATION = 0.5, 0.25  # what patches and their places bring into the first block
_NOISE = 0.005  # variance of the sensor's noise after CLIP's normalisation: directions below it are not amplified


@torch.no_grad()
def order_positions(visual: Any) -> None:
    """Make neighbours alike: position embeddings of sines and cosines of row and column.

    Beyer et al., "Better plain ViT baselines for ImageNet-1k" (arXiv 2205.01580), do the same and keep them fixed; here
    they are trained on.

    Args:
        visual: open_clip's vision transformer; changed in place.
    """
    (rows, columns), width = visual.grid_size, visual.positional_embedding.shape[1]
    frequencies = 100.0 ** -torch.linspace(0, 1, width // 4)
    line = [torch.arange(side)[:, None] * frequencies for side in (rows, columns)]
    waves = [torch.cat([angle.sin(), angle.cos()], dim=1) for angle in line]
    grid = torch.cat([waves[0][:, None].expand(-1, columns, -1), waves[1].expand(rows, -1, -1)], dim=2)
    visual.positional_embedding[1:] = 2**0.5 * _POSITION_DEVIATION * grid.reshape(rows * columns, width)


@torch.no_grad()
def whiten_patches(visual: Any, images: Tensor) -> None:
    """Make the patch embedding the principal components of patches, each of the same variance.

    Random filters mostly see a patch's mean colour. Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU" (arXiv
    2404.00498, section 3.2), starts a convolutional network like this.

    Args:
        visual: open_clip's vision transformer; changed in place.
        images: (N, 3, S, S) RGB in [0, 1], on the CPU, with some thousands of patches.
    """
    mean, std = (images.new_tensor(values)[:, None, None] for values in (visual.image_mean, visual.image_std))
    side = visual.patch_size[0]
    patches = functional.unfold((images - mean) / std, side, stride=side).transpose(1, 2).flatten(0, 1)
    variance, directions = torch.linalg.eigh(patches.T.cov())
    width = visual.conv1.weight.shape[0]
    filters = directions[:, -width:] / (variance[-width:].clamp(min=0) + _NOISE).sqrt()
    visual.conv1.weight.copy_(_PATCH_DEVIATION * filters.T.reshape(visual.conv1.weight.shape))
