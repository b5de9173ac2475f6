# SPDX-License-Identifier: Apache-2.0
"""Masks of synthetic anomalies: thresholded Perlin noise on the foreground."""

import torch
from anomalib.data.utils.generators import generate_perlin_noise
from torch import Tensor
from torchvision.transforms import v2

from anomalib_clip3dad.seeding import to_device

_RANGE = 0.1  # distance from the maximum of the noise on the part that still counts as its highest places
_ROTATE = v2.RandomAffine(degrees=(-90, 90), interpolation=v2.InterpolationMode.BILINEAR)


def perlin_mask(foreground: Tensor, threshold: float = 0.5, share: float | None = None) -> Tensor:
    """Draw the mask of a synthetic anomaly.

    CLIP3D-AD, section 3.3.1 and Figure 3, with DRAEM's noise: a lattice of 2^0..2^5 cells per axis, rotated at random,
    above 0.5. If that misses the part, mirror images of the noise are tried, and finally the highest places of the
    noise on the part are taken. This needs no branch on values of the mask, for which a GPU would have to synchronise.
    Draws from torch's global generator.

    Args:
        foreground: (H, W) bool, true = part.
        threshold: Threshold of the noise, which is in about [-1, 1].
        share: Share of the part to cover, in (0, 1]; the threshold is then chosen accordingly. Not in the paper.

    Returns:
        (H, W) bool, inside the foreground; empty only if the foreground is.
    """
    height, width = foreground.shape
    # drawn on the CPU so that a seed gives the same mask on every device
    drawn = _ROTATE(generate_perlin_noise(height, width, device=torch.device("cpu"))[None])[0]
    noise = to_device(drawn, foreground)
    if share is not None:
        on_part = noise.where(foreground, -torch.inf).flatten().sort(descending=True).values
        last = (share * foreground.sum()).long().clamp(min=1) - 1
        return (noise >= on_part.gather(0, last[None])) & foreground
    mirrored = torch.stack([noise, noise.flip(0), noise.flip(1), noise.flip(0, 1)])
    on_part = torch.where(foreground, noise, -torch.inf)
    candidates = torch.cat([mirrored > threshold, (on_part >= on_part.max() - _RANGE)[None]]) & foreground
    first = candidates.any(dim=2).any(dim=1).to(torch.uint8).argmax(keepdim=True)  # first one that is not empty
    return candidates.index_select(0, first)[0]
