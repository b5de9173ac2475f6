# SPDX-License-Identifier: Apache-2.0
"""Normals and brightness of a surface lit from the camera, which shows shape that colours do not."""

import torch
from torch import Tensor
from torch.nn import functional

from .camera import Camera

_WINDOW = 5  # pixels, side of the box that positions are averaged over; else a scanner's noise would hide the shape
_ROUNDING = 1e-5  # share of the cloud's extent; float32 resolves 1e-7 of it
_PARALLEL = 1e-3  # sine of the angle below which two directions count as parallel


def surface_normals(xyz: Tensor, foreground: Tensor) -> Tensor:
    """Estimate the normals of an organised cloud.

    GS-CLIP and CPMF use Open3D's normals, from a tree search for neighbours; in an organised cloud the neighbours are
    those in the image. The normal is the cross product of the differences of smoothed positions along rows and columns.

    Args:
        xyz: `(B, 3, H, W)`, metres, sensor frame; finite in the foreground, anything else outside.
        foreground: `(B, H, W)` bool.

    Returns:
        `(B, 3, H, W)`, unit length, towards the sensor; (0, 0, 0) where too few neighbours were measured.

    Example:
        >>> y, x = torch.meshgrid(torch.linspace(-0.1, 0.1, 9), torch.linspace(-0.1, 0.1, 9), indexing="ij")
        >>> tilted = torch.stack((x, y, 0.5 + x))[None]
        >>> normals = surface_normals(tilted, torch.ones(1, 9, 9, dtype=torch.bool))
        >>> [round(n, 3) for n in normals[0, :, 4, 4].tolist()]
        [0.707, 0.0, -0.707]
    """
    inside = foreground[:, None]
    known = xyz.where(inside, 0.0)
    # relative to the cloud's centre: at a distance float32 would lose anything below a tenth of a millimetre
    middle = known.sum((2, 3), keepdim=True) / inside.sum((2, 3), keepdim=True).clamp(min=1)
    total = functional.avg_pool2d((known - middle).where(inside, 0.0), _WINDOW, 1, _WINDOW // 2)
    smooth = total / functional.avg_pool2d(inside.to(xyz.dtype), _WINDOW, 1, _WINDOW // 2).clamp(min=1e-6)
    right = _central_difference(smooth, foreground, axis=3)
    down = _central_difference(smooth, foreground, axis=2)
    across = torch.linalg.cross(down, right, dim=1)  # with x right, y down, z forward this points towards the sensor
    wide, high, length = (_length(vectors)[:, None] for vectors in (right, down, across))
    extent = (known - middle).where(inside, 0.0).abs().amax((1, 2, 3), keepdim=True)
    # pixels with the same few neighbours differ by rounding errors only, whose direction means nothing
    sure = (torch.minimum(wide, high) > _ROUNDING * extent) & (length > _PARALLEL * wide * high)
    return torch.where(sure, across / length.clamp(min=1e-20), 0.0)


def _length(vectors: Tensor, dim: int = 1) -> Tensor:
    """Length of vectors along a dimension; torch 2.15's norm of one that is not the last takes 40 times as long."""
    return vectors.square().sum(dim=dim).sqrt()


def _central_difference(values: Tensor, foreground: Tensor, axis: int) -> Tensor:
    """Difference of the neighbours on both sides; the pixel itself replaces a neighbour that is not foreground."""
    border = (0, 0, 1, 1) if axis == 2 else (1, 1, 0, 0)
    padded, inside = functional.pad(values, border), functional.pad(foreground[:, None], border)
    size = values.shape[axis]
    before, after = (
        padded.narrow(axis, start, size).where(inside.narrow(axis, start, size), values) for start in (0, 2)
    )
    return (after - before) * foreground[:, None]


def turned_normals(normals: Tensor, rotations: Tensor) -> Tensor:
    """Rotate normals with their points.

    Args:
        normals: `(B, 3, N)`, normals in the sensor frame.
        rotations: `(v, 3, 3)`, rotations of the views.

    Returns:
        `(B, v, 3, N)`.
    """
    x, y, z = normals[:, None, :, None].unbind(dim=2)
    return rotations[:, :, 0, None] * x + rotations[:, :, 1, None] * y + rotations[:, :, 2, None] * z


def head_light(normals: Tensor, points: Tensor, rotations: Tensor, camera: Camera, two_sided: bool = False) -> Tensor:
    """Brightness of rotated points under a light at the camera: the cosine between normal and line of sight.

    Args:
        normals: `(B, 3, N)`, unit length, sensor frame; (0, 0, 0) = unknown.
        points: `(B, v, 3, N)`, metres, rotated.
        rotations: `(v, 3, 3)`, rotations of the points.
        camera: Camera of each sample.
        two_sided: Take each normal towards the camera, for those whose sign means nothing.

    Returns:
        `(B, v, N)` in [0, 1]; 1 where the normal is unknown.
    """
    turned = turned_normals(normals, rotations)
    sight = points - camera.eye[..., None]
    cosine = -(turned * sight).sum(dim=2) / _length(sight, dim=2).clamp(min=1e-12)
    known = normals.square().sum(dim=1)[:, None] > 0
    cosine = cosine.abs() if two_sided else cosine
    return cosine.clamp(0, 1).where(known, 1.0)
