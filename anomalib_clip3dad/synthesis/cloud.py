# SPDX-License-Identifier: Apache-2.0
"""Synthetic anomalies in the cloud: dents, bumps and missing points."""

import torch
from torch import Tensor
from torchvision.transforms.v2.functional import gaussian_blur

_DEPTH = (0.02, 0.08)  # smallest and largest depth of a dent, as a share of the part's extent
_SOFTNESS = 0.01  # width of a dent's edge, as a share of the image's height
_MISSING = 1 / 3  # share of holes among the anomalies in the cloud


def spoil_cloud(xyz: Tensor, foreground: Tensor, mask: Tensor) -> Tensor:
    """Push the surface in or out inside the mask, or remove its points.

    Not in CLIP3D-AD, which changes colours only. Points move along their line of sight, so that each stays in its
    pixel. All numbers are our choice: the depth is 2 to 8 % of the part's extent (not of its range of depths, which is
    almost zero on a flat part), in and out are equally likely, and a third of the anomalies are holes. Draws from
    torch's global generator.

    Args:
        xyz: (3, H, W), metres, camera frame (x right, y down, z forward); any values outside the foreground, including
            (0, 0, 0) or NaN = not measured.
        foreground: (H, W) bool, true = part.
        mask: (H, W) bool, where the anomaly goes, inside the foreground.

    Returns:
        (3, H, W), equal to `xyz` outside the mask; (0, 0, 0) = not measured in a hole.
    """
    kind, size, sign = torch.rand(3).tolist()
    if kind < _MISSING:
        return xyz.where(~mask, 0.0)
    low, high = xyz.where(foreground, torch.inf).amin((1, 2)), xyz.where(foreground, -torch.inf).amax((1, 2))
    extent = (high - low).amax()
    share = _DEPTH[0] + (_DEPTH[1] - _DEPTH[0]) * size
    # soft at the edge of the mask; full depth where the mask is widest, even if it is small
    sigma = max(_SOFTNESS * mask.shape[0], 0.5)
    kernel = 2 * round(3 * sigma) + 1
    relief = gaussian_blur(mask[None].to(xyz), [kernel, kernel], [sigma, sigma])[0] * mask
    step = (share if sign < 0.5 else -share) * extent * relief / relief.amax().clamp(min=1e-6)
    return xyz * (1 + step / xyz.norm(dim=0).clamp(min=1e-6))
