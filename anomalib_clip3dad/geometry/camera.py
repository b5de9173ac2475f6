# SPDX-License-Identifier: Apache-2.0
"""The rendering cameras, and Eq. 2 and 4: rotating a cloud in front of them and projecting it."""

import math
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor

from .organised import check_shape

_HALF_FIELD_OF_VIEW = math.radians(30)
_DISTANCE = 0.7 / math.tan(_HALF_FIELD_OF_VIEW)  # 1.2124 box edges: the distance of Open3D's viewer, and so of CPMF
_MIN_EDGE = 1e-3  # metres: keeps the camera away from a box of one point or none
# In metres, 0.12 mm and 0.015 mm: so coarse that differences between runtimes in the last bit do not matter.
_CENTRE_STEP, _DISTANCE_STEP = 1 / 8192, 1 / 65536
_FAR = 1e6  # metres, farther than all points
_NEAR = 1e-4  # metres: points nearer than this, or behind the camera, have no pixel


class Camera(NamedTuple):
    """A camera per sample for all views, or one for each view; x right, y down, z forward, as in the sensor frame.

    Attributes:
        centre: `(B, 3)`, metres, sensor frame: centre of rotation, the mean of the foreground points rounded to
            1/8192 m.
        eye: `(B, v or 1, 3)`, metres, sensor frame: position of the camera, which looks along +z.
        distance: `(B, v or 1)`, metres from `eye` to the centre of the foreground's box, rounded to 1/65536 m.
        focal: Focal length in pixels.
        principal: Column and row of the principal point in pixels; pixel centres are at integers.
    """

    centre: Tensor
    eye: Tensor
    distance: Tensor
    focal: float
    principal: float

    @property
    def pixel_size(self) -> Tensor:
        """`(B, v or 1)`, metres: the length that one pixel spans at `distance`."""
        return self.distance / self.focal


def place_camera(xyz: Tensor, foreground: Tensor, size: int) -> Camera:
    """Place each sample's camera in front of its foreground.

    The paper names K and T in Eq. 4 but gives neither. Our choice is CPMF's camera (its reference [6]), placed per
    sample: a field of view of 60 degrees, looking along +z at the centre of the foreground's box from 1.2124 times its
    largest edge, which then spans 71 % (1 / 1.4) of the image.

    Args:
        xyz: `(B, 3, H, W)`, metres, sensor frame; any values outside `foreground`.
        foreground: `(B, H, W)` bool, a subset of the measured points.
        size: Rows and columns of the square image.

    Returns:
        The camera. Without foreground it is close to the sensor, and all numbers are finite.

    Raises:
        ValueError: If `xyz` is not `(B, 3, H, W)` or `foreground` is not its `(B, H, W)`.
    """
    check_shape("xyz", xyz, "(B, 3, H, W)")
    if foreground.shape != (xyz.shape[0], *xyz.shape[2:]):
        msg = f"`foreground` has shape {tuple(foreground.shape)}, wanted (B, H, W) of `xyz`, {tuple(xyz.shape)}."
        raise ValueError(msg)
    inside = foreground[:, None]
    count = inside.sum(dim=(2, 3))
    # the last bits of sums differ between runtimes; unrounded, they would change every pixel of the views
    centre = (xyz.where(inside, 0.0).sum(dim=(2, 3)) / count.clamp(min=1) / _CENTRE_STEP).round() * _CENTRE_STEP
    points, drawn = rearrange(xyz, "b c h w -> b 1 c (h w)"), rearrange(foreground, "b h w -> b 1 (h w)")
    eye, distance = _in_front(points, drawn)
    return Camera(centre, eye, distance, focal=size / 2 / math.tan(_HALF_FIELD_OF_VIEW), principal=size / 2 - 0.5)


def place_in_each_view(camera: Camera, turned: Tensor, drawn: Tensor) -> Camera:
    """Place a camera in front of the cloud as each view turns it, as Open3D's viewer does.

    GS-CLIP renders so (PointAD's renderings): the longest side of the turned cloud spans 71 % of every view, so the
    scale differs between views.

    Args:
        camera: Result of `place_camera`.
        turned: `(B, v, 3, N)`, metres, the cloud rotated for each view.
        drawn: `(B, 1, N)` bool, the points that are drawn.

    Returns:
        The camera with `eye` `(B, v, 3)` and `distance` `(B, v)`.
    """
    eye, distance = _in_front(turned, drawn)
    return camera._replace(eye=eye, distance=distance)


def _in_front(points: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor]:
    """Position (B, v, 3) and distance (B, v) of cameras in front of the boxes of points (B, v, 3, N)."""
    inside, some = drawn[:, :, None], drawn.any(dim=2)[..., None]
    low = points.where(inside, math.inf).amin(dim=3).where(some, 0.0)
    high = points.where(inside, -math.inf).amax(dim=3).where(some, 0.0)
    distance = _DISTANCE * (high - low).amax(dim=2).clamp(min=_MIN_EDGE)
    distance = (distance / _DISTANCE_STEP).round() * _DISTANCE_STEP
    x, y, z = ((low + high) / 2).unbind(dim=2)
    return torch.stack((x, y, z - distance), dim=2), distance


def rotate(points: Tensor, rotations: Tensor, centre: Tensor) -> Tensor:
    """Apply every rotation to each cloud.

    CLIP3D-AD, Eq. 2. The paper does not specify the centre of rotation; `centre` is our choice.

    Args:
        points: `(B, 3, N)`, metres, any frame.
        rotations: `(v, 3, 3)`, rotations of the views.
        centre: `(B, 3)`, metres, same frame.

    Returns:
        `(B, v, 3, N)`, metres, same frame.

    Raises:
        ValueError: If `points` is not `(B, 3, N)`.
    """
    check_shape("points", points, "(B, 3, N)")
    axes = (points - centre[..., None])[:, None, :, None].unbind(dim=2)
    # three products instead of a matmul, which may round to TF32 on a GPU and give other bits for other batch sizes;
    # the clamp changes no value but keeps runtimes from fusing product and sum into one rounding
    x, y, z = ((rotations[:, :, i, None] * axis).clamp(-_FAR, _FAR) for i, axis in enumerate(axes))
    return x + y + z + centre[:, None, :, None]


def project(points: Tensor, camera: Camera) -> tuple[Tensor, Tensor]:
    """Compute the pixel and the depth of every point.

    CLIP3D-AD, Eq. 4 with K = [[f, 0, c], [0, f, c], [0, 0, 1]] and T = [I | -eye].

    Args:
        points: `(B, v, 3, N)`, metres, sensor frame.
        camera: Camera of each sample.

    Returns:
        Pixels `(B, v, 2, N)`, u = column, then v = row, continuous, pixel centres at integers; and depth along the
        optical axis `(B, v, N)` in metres, +inf for points at or behind the camera (whose pixels are meaningless).

    Example:
        >>> eye = torch.tensor([[0.0, 0.0, 1.0]])
        >>> camera = Camera(eye, eye[:, None], torch.tensor([[1.0]]), focal=100.0, principal=49.5)
        >>> project(torch.tensor([0.1, -0.2, 3.0]).reshape(1, 1, 3, 1), camera)
        (tensor([[[[54.5000],
                  [39.5000]]]]), tensor([[[2.]]]))
    """
    seen = points - camera.eye[..., None]
    depth = seen[:, :, 2]
    pixels = camera.focal * seen[:, :, :2] / depth.clamp(min=_NEAR)[:, :, None] + camera.principal
    return pixels, depth.where(depth > _NEAR, math.inf)


def nearest_pixels(points: Tensor, pixels: Tensor, depth: Tensor, camera: Camera) -> Tensor:
    """Find the pixel that every point falls into, the same in every runtime.

    The paper does not specify this; we take the nearest. Some runtimes divide by multiplying with a rounded inverse, so
    that a point on the border between two pixels could fall into either. Therefore the quotient gives a first guess,
    and a comparison of products decides: u >= k - 1/2 is equivalent to f x >= (k - 1/2 - c) z.

    Args:
        points: `(B, v, 3, N)`, as for `project`.
        pixels: `(B, v, 2, N)`, result of `project`.
        depth: `(B, v, N)`, result of `project`.
        camera: Camera of each sample.

    Returns:
        `(B, v, 2, N)`, column and row, integers, possibly outside the image.

    Example:
        >>> eye = torch.tensor([[0.0, 0.0, 0.0]])
        >>> camera = Camera(eye, eye[:, None], torch.tensor([[1.0]]), focal=100.0, principal=49.5)
        >>> points = torch.tensor([0.1, -0.2, 2.0]).reshape(1, 1, 3, 1)
        >>> nearest_pixels(points, *project(points, camera), camera).flatten().tolist()
        [55.0, 40.0]
    """
    ray = camera.focal * (points - camera.eye[..., None])[:, :, :2]
    proposed = (pixels + 0.5).floor()
    lower, upper = ((proposed + rim - camera.principal) * depth[:, :, None] for rim in (-0.5, 0.5))
    return proposed - (ray < lower).to(pixels.dtype) + (ray >= upper).to(pixels.dtype)
