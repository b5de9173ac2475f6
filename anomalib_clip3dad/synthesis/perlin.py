# SPDX-License-Identifier: Apache-2.0
"""Where a synthetic anomaly goes: thresholded Perlin noise on the foreground."""

import torch
from anomalib.data.utils.generators import generate_perlin_noise
from torchvision.transforms import v2

_TRIES = 10
_ROTATE = v2.RandomAffine(degrees=(-90, 90), interpolation=v2.InterpolationMode.BILINEAR)


def perlin_mask(foreground: torch.Tensor, threshold: float = 0.5) -> torch.Tensor:
    """Draw the mask of a synthetic anomaly.

    CLIP3D-AD, section 3.3.1 and Figure 3, with DRAEM's noise: lattice of 2^0..2^5 cells per axis, rotated at random,
    above 0.5. Draws from torch's global generator.

    Args:
        foreground: (H, W) bool, where the part is.
        threshold: of the noise, which lies in about [-1, 1].

    Returns:
        (H, W) bool, inside the foreground; empty only if that is.
    """
    height, width = foreground.shape
    for _ in range(_TRIES):
        # drawn on the CPU so that a seed gives the same mask on every device
        noise = _ROTATE(generate_perlin_noise(height, width, device=torch.device("cpu"))[None])[0].to(foreground.device)
        mask = (noise > threshold) & foreground
        if mask.any():
            return mask
    # The noise keeps missing a small part: take its highest places on the part instead.
    masked = torch.where(foreground, noise, -torch.inf)
    return foreground & (masked >= masked.max() - 0.1)
