# SPDX-License-Identifier: Apache-2.0
"""A good part from which bad inputs are made."""

import numpy as np

from anomalib_clip3dad.data import Intrinsics

SIDE, FOCAL = 48, 120.0
CAMERA = Intrinsics(FOCAL, FOCAL, 23.5, 23.5)
MILLIMETRES = CAMERA._replace(unit="mm")


def part() -> tuple[np.ndarray, np.ndarray]:
    """A dome on a table half a metre away: RGB (H, W, 3) uint8, and organised XYZ (H, W, 3) float32."""
    rng = np.random.default_rng(0)
    v, u = np.mgrid[:SIDE, :SIDE] - 23.5
    r = np.hypot(u, v)
    depth = 0.5 - 0.03 * np.sqrt(np.clip(1 - (r / 16) ** 2, 0, None)) + rng.normal(0, 1e-4, r.shape)
    grey = np.where(r < 16, 150 + 60 * np.cos(r / 5), 40) + rng.normal(0, 4, r.shape)
    xyz = np.dstack([u * depth / FOCAL, v * depth / FOCAL, depth]).astype(np.float32)
    return np.dstack([grey, grey * 0.9, grey * 0.8]).clip(0, 255).astype(np.uint8), xyz


RGB, XYZ = part()
DEPTH = XYZ[..., 2]
POINTS = XYZ.reshape(-1, 3)


def millimetres() -> np.ndarray:
    """The depth in whole millimetres."""
    return np.rint(1000 * DEPTH).astype(np.uint16)
