# SPDX-License-Identifier: Apache-2.0
"""The shape of a part as an image, for people."""

from typing import NamedTuple

import numpy as np
from torch import Tensor

from anomalib_clip3dad.geometry import foreground_mask, validity_mask


class Relief(NamedTuple):
    """Depth or height of a part.

    Attributes:
        values: (H, W) in metres; NaN where the part was not measured, and off the part.
        label: What the values are.
    """

    values: np.ndarray
    label: str


def relief(xyz: Tensor) -> Relief:
    """Measure the shape of a part above the plane that it lies on.

    Args:
        xyz: (3, H, W) organised XYZ in metres, camera frame; (0, 0, 0) = not measured.

    Returns:
        Height above the plane, whose tilt would hide the part's shape; without a plane, depth.
    """
    valid = validity_mask(xyz[None])[0].cpu().numpy()
    part = foreground_mask(xyz[None])[0].cpu().numpy()
    x, y, z = xyz.double().cpu().numpy()
    background = valid & ~part
    if not part.any() or not background.any():
        return Relief(np.where(valid, z, np.nan), "depth, m")
    plane = np.stack([x, y, np.ones_like(x)], axis=-1)
    height = plane @ np.linalg.lstsq(plane[background], z[background])[0] - z
    return Relief(np.where(part, height, np.nan), "height above the plane, m")
