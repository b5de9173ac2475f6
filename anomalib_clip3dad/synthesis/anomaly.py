# SPDX-License-Identifier: Apache-2.0
"""An anomalous sample x- with its mask from a normal sample x+."""

from typing import NamedTuple

import torch
from torch import Tensor

from .cloud import spoil_cloud
from .perlin import perlin_mask
from .texture import TextureSource


class Anomalous(NamedTuple):
    """A sample with a synthetic anomaly, x-.

    Attributes:
        image: (3, H, W) RGB in [0, 1].
        xyz: (3, H, W), metres, camera frame, (0, 0, 0) or NaN = not measured.
        mask: (H, W) bool, where the anomaly is; empty only if there is no part.
    """

    image: Tensor
    xyz: Tensor
    mask: Tensor


def synthesise(
    image: Tensor,
    xyz: Tensor,
    foreground: Tensor,
    textures: TextureSource,
    opacity: tuple[float, float] = (0.2, 1.0),
    geometry: float = 0.0,
    size: tuple[float, float] | None = None,
) -> Anomalous:
    """Put a synthetic anomaly on a sample.

    CLIP3D-AD, section 3.3.1. The paper does not specify the opacity; ours is uniform in [0.2, 1], the complement of
    DRAEM's beta. Anomalies in the cloud are our addition; half of them leave the colours unchanged. Draws from torch's
    global generator.

    Args:
        image: Image of x+, (3, H, W) RGB in [0, 1].
        xyz: Cloud of x+, (3, H, W), metres, camera frame (x right, y down, z forward), (0, 0, 0) or NaN = not measured.
        foreground: (H, W) bool, true = part; anomalies stay inside.
        textures: Source of the textures.
        opacity: Smallest and largest opacity of the texture over the image.
        geometry: Share of the anomalies that are in the cloud, in [0, 1].
        size: Smallest and largest share of the part that the anomaly covers; None: as in the paper, see `perlin_mask`.

    Returns:
        x-, equal to x+ outside the mask.
    """
    mask = perlin_mask(foreground, share=size and _log_uniform(*size))
    in_cloud = bool(torch.rand(()) < geometry)
    if in_cloud:
        xyz = spoil_cloud(xyz, foreground, mask)
    if not (in_cloud and torch.rand(()) < 0.5):
        weight = float(torch.empty(()).uniform_(*opacity)) * mask
        image = torch.lerp(image, textures.draw(image), weight.to(image))
    return Anomalous(image, xyz, mask)


def _log_uniform(low: float, high: float) -> float:
    """Draw a share, uniform on a logarithmic scale."""
    return low * (high / low) ** torch.rand(()).item()
