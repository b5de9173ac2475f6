# SPDX-License-Identifier: Apache-2.0
"""x- and its mask from x+."""

import torch

from .perlin import perlin_mask
from .texture import TextureSource


def synthesise(
    images: torch.Tensor,
    foreground: torch.Tensor,
    textures: TextureSource,
    opacity: tuple[float, float] = (0.2, 1.0),
) -> tuple[torch.Tensor, torch.Tensor]:
    """Put one anomaly on each image.

    CLIP3D-AD, section 3.3.1. The paper does not give the opacity; ours is uniform in [0.2, 1], the complement of
    DRAEM's beta. Draws from torch's global generator.

    Args:
        images: x+, (B, 3, H, W) RGB in [0, 1].
        foreground: (B, H, W) bool, where the part is; anomalies stay inside.
        textures: where textures come from.
        opacity: least and largest opacity of the texture over the image.

    Returns:
        x-, (B, 3, H, W), equal to x+ outside the mask, and the mask (B, H, W) bool.
    """
    anomalous, masks = [], []
    for image, part in zip(images, foreground, strict=True):
        mask = perlin_mask(part)
        weight = float(torch.empty(()).uniform_(*opacity)) * mask
        anomalous.append(torch.lerp(image, textures.draw(image), weight.to(image)))
        masks.append(mask)
    return torch.stack(anomalous), torch.stack(masks)
