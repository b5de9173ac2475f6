# SPDX-License-Identifier: Apache-2.0
"""What the points of rendered views look like: colours, light, depth or normals."""

import math

import torch
from einops import rearrange
from torch import Tensor

from anomalib_clip3dad.errors import InputError

from .camera import Camera
from .shading import head_light, surface_normals, turned_normals

PAINTS = ("colour", "lit", "grey", "depth", "normals")
"""How views are painted: the image's colours; the same lit from the camera; a grey surface lit from the camera; depth,
the nearest point black; the direction that the surface faces, as a colour."""

GREY = 0.7
"""Brightness of a grey surface facing the light: Open3D's default for clouds, as in GS-CLIP and PointAD."""

_FARTHEST = 0.9  # brightness of the largest depth; white = no surface


def check_paint(paint: str) -> None:
    """Raise if there is no such paint.

    Args:
        paint: One of `PAINTS`.

    Raises:
        ValueError: If it is none of them.
    """
    if paint not in PAINTS:
        msg = f"view_paint={paint!r}: give one of {', '.join(PAINTS)}"
        raise InputError(msg)


def paint_points(
    paint: str, image: Tensor, xyz: Tensor, foreground: Tensor, turned: Tensor, rotations: Tensor, camera: Camera
) -> Tensor:
    """Compute the colour of every point in every view.

    Args:
        paint: One of `PAINTS`.
        image: `(B, 3, H, W)`, RGB in [0, 1].
        xyz: `(B, 3, H, W)`, metres, sensor frame, finite.
        foreground: `(B, H, W)` bool, the points that are drawn.
        turned: `(B, v, 3, H W)`, metres, the points rotated for each view.
        rotations: `(v, 3, 3)`, the rotations of the views.
        camera: Camera of each sample.

    Returns:
        `(B, v or 1, 3 or 1, H W)` in [0, 1]; 1 view if all are the same, 1 channel if the paint is grey.
    """
    colours = rearrange(image, "b c h w -> b 1 c (h w)")
    if paint == "colour":
        return colours
    if paint == "depth":
        return relative_depth(turned[:, :, 2:], rearrange(foreground, "b h w -> b 1 1 (h w)"))
    normals = rearrange(surface_normals(xyz, foreground), "b c h w -> b c (h w)")
    if paint == "normals":
        known = normals.square().sum(dim=1)[:, None, None] > 0
        towards = turned.new_tensor([0.0, 0.0, -1.0])[:, None]
        facing = turned_normals(normals, rotations).where(known, towards)
        right_up_near = facing * turned.new_tensor([1.0, -1.0, -1.0])[:, None]
        return (right_up_near + 1) / 2
    light = head_light(normals, turned, rotations, camera)[:, :, None]
    return light * (colours if paint == "lit" else GREY)


def relative_depth(depth: Tensor, drawn: Tensor) -> Tensor:
    """Depth within each view, as a brightness.

    Args:
        depth: `(B, v, 1, N)`, metres.
        drawn: `(B, 1, 1, N)` bool, the points that are drawn.

    Returns:
        `(B, v, 1, N)`: 0 at a view's nearest point, 0.9 at its farthest; 0 if all depths are equal.
    """
    near = depth.where(drawn, math.inf).amin(dim=3, keepdim=True)
    far = depth.where(drawn, -math.inf).amax(dim=3, keepdim=True)
    extent = (far - near).clamp(min=1e-12)
    return _FARTHEST * torch.where(drawn, (depth - near) / extent, 0.0).clamp(0, 1)
