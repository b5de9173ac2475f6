# SPDX-License-Identifier: Apache-2.0
"""Synthetic organised clouds, as a pinhole sensor at the origin measures them."""

import numpy as np
import torch
from torch import Tensor


def pixel_rays(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """x / z and y / z of every pixel of a sensor with a focal length of 1.5 images."""
    row, column = np.mgrid[:height, :width].astype(np.float64)
    focal = 1.5 * max(height, width)
    return (column - (width - 1) / 2) / focal, (row - (height - 1) / 2) / focal


def organise(depth: np.ndarray) -> Tensor:
    """(1, 3, H, W) cloud of a depth map in metres; 0 = not measured."""
    x, y = pixel_rays(*depth.shape)
    return torch.from_numpy(np.stack((x * depth, y * depth, depth))[None].astype(np.float32))


def bumpy(seed: int, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Image, cloud and foreground of a rough surface with a step in it, lost points and a ragged outline."""
    rng = np.random.default_rng(seed)
    row, column = np.mgrid[:height, :width]
    depth = 0.5 + 0.01 * np.sin(row / 3) * np.cos(column / 4) + 0.002 * rng.standard_normal((height, width))
    depth = np.where(column > 0.6 * width, depth - 0.06, depth)
    away = np.hypot(row / height - 0.5, column / width - 0.5)
    foreground = (away + 0.03 * rng.standard_normal((height, width)) < 0.42) & (rng.random((height, width)) > 0.05)
    image = torch.from_numpy(rng.random((1, 3, height, width), dtype=np.float32))
    return image, organise(depth), torch.from_numpy(foreground)[None]


def plate(height: int, width: int, share: float, depth: float = 0.5) -> tuple[Tensor, Tensor]:
    """Cloud and foreground of a rectangle that faces the sensor and spans `share` of its rows and of its columns."""
    row, column = np.mgrid[:height, :width]
    inside = (abs(row - (height - 1) / 2) <= share * height / 2) & (abs(column - (width - 1) / 2) <= share * width / 2)
    return organise(np.where(inside, depth, 0.0)), torch.from_numpy(inside)[None]
