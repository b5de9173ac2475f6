# SPDX-License-Identifier: Apache-2.0
"""Eq. 2-4: from a registered image and organised cloud to multi-view images and P_2D."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from einops import rearrange, repeat
from torch import Tensor, nn
from torch.nn import functional

from .camera import Camera, nearest_pixels, place_camera, place_in_each_view, project, rotate
from .organised import check_shape
from .paints import check_paint, paint_points
from .splat import MAX_RADIUS, depth_in_pixels, grow, ray_spacing, splat_radius, visible_points, z_buffer
from .views import DEFAULT_VIEWS, view_rotations

_WHITE = 1.0


class Views(NamedTuple):
    """A part seen from v views.

    Attributes:
        images: `(B, v, 3, S, S)`, RGB in [0, 1], white where there is no surface.
        positions: `(B, v, H, W, 2)`, P_2D: u = column, v = row of every input pixel in each view, continuous, pixel
            centres at integers, possibly outside the image; (-1, -1) for a pixel that is not foreground.
        visible: `(B, v, H, W)` bool, true = foreground, inside the image and not behind another surface.
    """

    images: Tensor
    positions: Tensor
    visible: Tensor


class Raster(NamedTuple):
    """One rasterisation: which point each pixel of each view shows, for any number of paints.

    Attributes:
        camera: The camera of each sample, or of each of its views.
        turned: `(B, v, 3, N)`, metres, the points rotated for each view.
        positions: `(B, v, 2, N)`, u = column, v = row of every point in each view, as in `Views`.
        visible: `(B, v, N)` bool, as in `Views`.
        shown: `(B, v, S, S)` int32, index of the point that a pixel shows; N = no point.
    """

    camera: Camera
    turned: Tensor
    positions: Tensor
    visible: Tensor
    shown: Tensor


class MultiViewRenderer(nn.Module):
    """Render the multi-view images of CLIP3D-AD, section 3.3.2.

    Args:
        views: 1-based view numbers, 1 to 27. The paper works with five of 27.
        size: Rows and columns of the images, the vision tower's input size.
        paint: One of `PAINTS`. Lit views show dents and bumps; grey ones show nothing else.

    Raises:
        ValueError: If a view number is outside 1 to 27, or there is no such paint.

    Example:
        >>> import torch
        >>> y, x = torch.meshgrid(torch.linspace(-0.1, 0.1, 64), torch.linspace(-0.1, 0.1, 64), indexing="ij")
        >>> xyz = torch.stack((x, y, torch.full_like(x, 0.5)))[None]
        >>> views = MultiViewRenderer(size=48)(torch.zeros(1, 3, 64, 64), xyz, torch.ones(1, 64, 64, dtype=torch.bool))
        >>> views.images.shape, round(views.images.mean().item(), 1)
        (torch.Size([1, 5, 3, 48, 48]), 0.5)
    """

    rotations: Tensor

    def __init__(self, views: Sequence[int] = DEFAULT_VIEWS, size: int = 240, paint: str = "colour") -> None:
        super().__init__()
        check_paint(paint)
        self.size = size
        self.paint = paint
        # fixed by `views`, so not in the checkpoint, which can then be loaded for other views
        self.register_buffer("rotations", view_rotations(views), persistent=False)

    def forward(self, image: Tensor, xyz: Tensor, foreground: Tensor) -> Views:
        """Render every view of every sample; arguments, result and errors are those of `render_views`."""
        return render_views(image, xyz, foreground, self.rotations, self.size, self.paint)


def render_views(
    image: Tensor, xyz: Tensor, foreground: Tensor, rotations: Tensor, size: int, paint: str = "colour"
) -> Views:
    """Rotate, project and draw each sample's foreground.

    CLIP3D-AD, Eq. 2-4. The paper does not specify camera, splat and background; they are our choice (`place_camera`,
    `grow`, white).

    Args:
        image: `(B, 3, H, W)`, RGB in [0, 1].
        xyz: `(B, 3, H, W)`, metres, camera frame (x right, y down, z forward), registered with `image`; anything
            outside `foreground`.
        foreground: `(B, H, W)` bool, what is drawn; a subset of the measured points (`foreground_mask`).
        rotations: `(v, 3, 3)`, on the device of `xyz`.
        size: S, rows and columns of the views.
        paint: One of `PAINTS`; light multiplies colours by the cosine between surface normal and
            line of sight; normals are red to the right, green upwards, blue towards the viewer.

    Returns:
        The views. A sample without foreground has white images and nothing visible.

    Raises:
        ValueError: If a shape is not the one above, or `image` and `xyz` differ in size.
    """
    check_shape("image", image, "(B, 3, H, W)")
    if image.shape != xyz.shape:
        remedy = "resize them to the same rows and columns (`resize_organised` for the cloud)"
        msg = f"`image` has shape {tuple(image.shape)}, wanted that of `xyz`, {tuple(xyz.shape)}: {remedy}."
        raise ValueError(msg)
    raster = rasterise(xyz, foreground, rotations, size)
    colours = paint_points(paint, image, xyz, foreground, raster.turned, rotations, raster.camera)
    height = xyz.shape[2]
    return Views(
        images=draw_points(colours, raster.shown).expand(-1, -1, 3, -1, -1),
        positions=rearrange(raster.positions, "b v c (h w) -> b v h w c", h=height),
        visible=rearrange(raster.visible, "b v (h w) -> b v h w", h=height),
    )


def rasterise(
    xyz: Tensor,
    foreground: Tensor,
    rotations: Tensor,
    size: int,
    spacing: Tensor | None = None,
    camera_per_view: bool = False,
) -> Raster:
    """Rotate, project and splat each sample's foreground; what the points look like is up to `draw_points`.

    CLIP3D-AD, Eq. 2 and 4, and the geometry of Eq. 3; see `render_views`.

    Args:
        xyz: `(B, 3, H, W)`, metres, sensor frame; anything outside `foreground`.
        foreground: `(B, H, W)` bool, what is drawn; a subset of the measured points.
        rotations: `(v, 3, 3)`, on the device of `xyz`.
        size: S, rows and columns of the views.
        spacing: `(B,)`, metres between neighbouring points of clouds that are not organised; None measures it between
            neighbouring pixels (`ray_spacing`).
        camera_per_view: Fit the camera to the turned cloud of every view (`place_in_each_view`), as GS-CLIP does.

    Returns:
        The raster.
    """
    camera = place_camera(xyz, foreground, size)
    # points that are not drawn may be NaN, which no later masking would remove
    xyz = xyz.where(foreground[:, None], camera.centre[..., None, None])
    points, drawn = rearrange(xyz, "b c h w -> b c (h w)"), rearrange(foreground, "b h w -> b 1 (h w)")
    turned = rotate(points, rotations, camera.centre)
    if camera_per_view:
        camera = place_in_each_view(camera, turned, drawn)
    pixels, depth = project(turned, camera)

    # the sensor's rays part with depth; a spacing in metres does not
    from_sensor = points[:, None, 2] if spacing is None else torch.ones_like(points[:, None, 2])
    enlargement = (from_sensor / depth).where(drawn, 0.0).amax(dim=(1, 2))
    spacing = ray_spacing(xyz, foreground) if spacing is None else spacing
    radius = splat_radius(spacing, enlargement, camera.focal)
    # the canvas is one splat wider on all sides, for points outside the image whose splats reach into it
    nearest, canvas = nearest_pixels(turned, pixels, depth, camera) + MAX_RADIUS, size + 2 * MAX_RADIUS
    on_canvas = ((nearest >= 0) & (nearest < canvas)).all(dim=2)
    in_image = ((nearest >= MAX_RADIUS) & (nearest < MAX_RADIUS + size)).all(dim=2)
    depth = depth_in_pixels(depth, camera).where(drawn & on_canvas, math.inf)
    column, row = nearest.clamp(0, canvas - 1).long().unbind(dim=2)
    cells = row * canvas + column

    buffer = grow(z_buffer(cells, depth, canvas), radius)
    return Raster(
        camera=camera,
        turned=turned,
        positions=pixels.where(drawn[:, :, None], -1.0),
        visible=visible_points(buffer, cells, depth, radius) & in_image,
        shown=buffer.point[:, :, MAX_RADIUS:-MAX_RADIUS, MAX_RADIUS:-MAX_RADIUS],
    )


def draw_points(values: Tensor, point: Tensor, background: float = _WHITE) -> Tensor:
    """Give every pixel of every view the value of the point it shows.

    CLIP3D-AD, Eq. 3.

    Args:
        values: `(B, v, C, N)`, values of the points in each view, or `(B, 1, C, N)` if they are the same in all views.
        point: `(B, v, S, S)` int32, index of the point shown; N = no point.
        background: Value where there is no point; 1 is white.

    Returns:
        `(B, v, C, S, S)`.
    """
    # one point of the background after the last one, so that index N needs no special case
    colours = functional.pad(values, (0, 1), value=background).expand(-1, point.shape[1], -1, -1)
    index = repeat(point.long(), "b v r s -> b v c (r s)", c=values.shape[2])
    return rearrange(colours.gather(3, index), "b v c (r s) -> b v c r s", r=point.shape[2])
