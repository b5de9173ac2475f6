# SPDX-License-Identifier: Apache-2.0
"""What GS-CLIP sees of a part: shaded views, depth views, points, and where each point is seen."""

from typing import NamedTuple

import torch
from einops import rearrange, repeat
from torch import Tensor

from anomalib_clip3dad.geometry.back_projection import pixel_cells
from anomalib_clip3dad.geometry.fpfh import estimate_normals, find_neighbours
from anomalib_clip3dad.geometry.organised import is_unorganised
from anomalib_clip3dad.geometry.paints import GREY, relative_depth
from anomalib_clip3dad.geometry.renderer import Raster, draw_points, rasterise
from anomalib_clip3dad.geometry.shading import head_light, surface_normals

_NEIGHBOURS = 30  # that a normal is fitted to in an unorganised cloud, as Open3D's hybrid search in PointAD


class Observation(NamedTuple):
    """B parts from v sides; one rasterisation of each side gives all of it.

    Attributes:
        shaded: (B, v, 1, S, S) in [0, 1], a grey surface lit from the camera, white where there is none.
        depth: (B, v, 1, S, S) in [0, 1], the nearest point black, white where there is no surface.
        cells: (B, v, N) int64, pixel of every point of the cloud in every view, row * S + column.
        visible: (B, v, N) bool.
        shown: (B, v, S, S) int32, index of the point that a pixel shows; N = no point.
    """

    shaded: Tensor
    depth: Tensor
    cells: Tensor
    visible: Tensor
    shown: Tensor

    def truth(self, mask: Tensor) -> Tensor:
        """Draw the truth of the points: (B, H, W) bool becomes (B, v, S, S) bool."""
        values = rearrange(mask.float(), "b h w -> b 1 1 (h w)")
        return draw_points(values, self.shown, background=0.0)[:, :, 0] > 0.5


def observe(xyz: Tensor, foreground: Tensor, rotations: Tensor, size: int) -> Observation:
    """Render parts from all sides.

    GS-CLIP, section 3.1; camera and shading are those of PointAD's renderings, splats and visibility our own
    (`rasterise`). The authors paint the nearest point as white as the background; here it is black.

    Args:
        xyz: (B, 3, H, W), metres, camera frame; (B, 3, 1, N) for unorganised clouds of any unit.
        foreground: (B, H, W) bool, the part.
        rotations: (v, 3, 3), rotations of the views.
        size: S, rows and columns of the views.

    Returns:
        The observation.
    """
    if is_unorganised(xyz):
        xyz = _unit(xyz, foreground)
        normals, spacing = _normals_and_spacing(xyz, foreground)
    else:
        normals, spacing = rearrange(surface_normals(xyz, foreground), "b c h w -> b c (h w)"), None
    raster: Raster = rasterise(xyz, foreground, rotations, size, spacing, camera_per_view=True)
    drawn = rearrange(foreground, "b h w -> b 1 1 (h w)")
    light = head_light(normals, raster.turned, rotations, raster.camera, two_sided=spacing is not None)
    return Observation(
        shaded=draw_points(GREY * light[:, :, None], raster.shown),
        depth=draw_points(relative_depth(raster.turned[:, :, 2:], drawn), raster.shown),
        cells=pixel_cells(raster.positions, size),
        visible=raster.visible,
        shown=raster.shown,
    )


def as_rgb(views: Tensor) -> Tensor:
    """Repeat the one channel of views, and put them in one row: (B, v, 1, S, S) becomes (B v, 3, S, S)."""
    return repeat(views, "b v 1 r s -> (b v) c r s", c=3)


def _unit(xyz: Tensor, foreground: Tensor) -> Tensor:
    """Move clouds of any unit in front of a camera, one unit long."""
    inside = foreground[:, None]
    low, high = (xyz.where(inside, end).flatten(2) for end in (torch.inf, -torch.inf))
    low, high = low.amin(dim=2), high.amax(dim=2)
    extent = (high - low).amax(dim=1).clamp(min=1e-12)
    scaled = (xyz - ((low + high) / 2)[..., None, None]) / extent[:, None, None, None]
    return scaled.where(inside, 0.0)


def _normals_and_spacing(xyz: Tensor, foreground: Tensor) -> tuple[Tensor, Tensor]:
    """Normals (B, 3, N) of either sign, and the median distance (B,) to the nearest point."""
    normals, spacing = torch.zeros_like(xyz[:, :, 0]), xyz.new_zeros(len(xyz))
    for row, (cloud, inside) in enumerate(zip(xyz[:, :, 0], foreground[:, 0], strict=True)):
        points = cloud[:, inside].T
        if len(points) > 1:
            near = find_neighbours(points, radius=1.0, max_nn=_NEIGHBOURS)
            normals[row, :, inside] = estimate_normals(points, near).T.to(xyz)
            # points that are there several times say nothing of the gaps
            distances = near.squared_distances[:, 1:].where(near.squared_distances[:, 1:] > 0, torch.inf)
            spacing[row] = distances.amin(dim=1).sqrt().median()
    return normals, spacing.where(spacing.isfinite(), 0.0)
