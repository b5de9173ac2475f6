# SPDX-License-Identifier: Apache-2.0
"""The background plane and the part in front of it: the foreground that synthesis, renderer and export share."""

import math

import torch
from einops import rearrange, repeat
from torch import Tensor
from torch.nn import functional

from .organised import check_shape, is_unorganised, validity_mask

# Chosen on 300 random scenes, tilted, one to three boxes on 10 to 45 % of the frame: 99.3 % of the planes recovered.
_L1_ROUNDS = 5  # without them 98.3 %, with more no better
# In units of `distance`. From 8 on 89 %: boxes a few `distance` high pull good fits back to them. Ending at 1: 98.3 %.
_TUKEY_SCALES = (2.0, 1.0, 0.5, 0.5)

_ENOUGH_POINTS = 4096  # for three numbers; a larger frame is thinned out to about as many
_MIN_FRAME_SHARE = 0.1  # of the frame's pixels: less is the edge of an object cut by the image, not its support
_MIN_AGREEMENT = 0.5  # of the measured frame points: with less, another plane could fit as many
_MIN_LEFT = 0.005  # of the measured points; the smallest objects of MVTec 3D-AD fill some 3 % of their image
_MIN_SPREAD = 1e-5  # smaller over larger variance of the points: one side of a 900-pixel frame has 1e-4, a line 0


def foreground_mask(xyz: Tensor, valid: Tensor | None = None, *, frame: int = 10, distance: float = 0.005) -> Tensor:
    """Find the pixels that show the object rather than the plane it lies on.

    The paper uses "a foreground mask using depth image" (section 3.3.1) and says no more, so the method is our choice.
    Its baselines fit the plane to a 10-pixel frame by RANSAC (3D-ADS); we use reweighted least squares, which gives the
    same bits each time and can be exported. A cloud without a background plane is all foreground, and so is an
    unorganised one.

    Args:
        xyz: `(B, 3, H, W)`, metres, camera frame (x right, y down, z forward), (0, 0, 0) or non-finite = not measured.
        valid: `(B, H, W)` bool, true = measured; `None` calls `validity_mask`.
        frame: Width of the border that shows the background, in pixels.
        distance: Largest distance of a background point from the plane, in metres.

    Returns:
        `(B, H, W)` bool, true = measured and more than `distance` from the plane, specks removed. If no plane is found,
        or removing it would leave nothing (an object thinner than `distance`), this is `valid`.

    Raises:
        ValueError: If `xyz` or `valid` has another shape, or the image has no pixel inside the frame.
    """
    check_shape("xyz", xyz, "(B, 3, H, W)")
    valid = validity_mask(xyz) if valid is None else valid
    if valid.shape != (xyz.shape[0], *xyz.shape[2:]):
        msg = f"`valid` has shape {tuple(valid.shape)}, wanted (B, H, W) of `xyz`, which is {tuple(xyz.shape)}."
        raise ValueError(msg)
    if is_unorganised(xyz):
        return valid
    if min(xyz.shape[2:]) <= 2 * frame:
        msg = f"`xyz` has {tuple(xyz.shape[2:])} pixels, wanted more than {2 * frame} a side: pass a smaller `frame`."
        raise ValueError(msg)
    points = xyz.where(valid[:, None], 0.0)
    plane, found = _frame_plane(points, valid, frame, distance)
    height = _height(plane, rearrange(points, "b c h w -> b c (h w)"))
    height = rearrange(height, "b (h w) -> b h w", h=xyz.shape[2])
    mask = _open(valid & (height.abs() > distance), valid)
    left = _count(mask)
    # the background is behind the object: a plane that is in front of most other points is a face of the object itself
    found = found & (left > _MIN_LEFT * _count(valid)) & (2 * _count(mask & (height > 0)) >= left)
    # not `where`: ONNX Runtime has none for booleans
    found = found[:, None, None]
    return (mask & found) | (valid & ~found)


def _count(mask: Tensor) -> Tensor:
    """Number of true pixels (B,) of a (B, H, W) mask, float32 (exact to 16 million).

    Not an integer: OpenVINO 2026 gets a multiple of integer counts wrong from the second sample on.
    """
    return mask.to(torch.float32).sum(dim=(1, 2))


def _frame_plane(points: Tensor, valid: Tensor, frame: int, distance: float) -> tuple[Tensor, Tensor]:
    """Plane (B, 3) = (a, b, c) of z = a x + b y + c that fits most of the frame, and whether there is one (B,)."""
    cloud = torch.cat((points, valid[:, None].to(points.dtype)), dim=1)
    starts = _border(_starts(points.shape[2], points.shape[3], frame, points), frame)
    border = repeat(_border(cloud, frame), "b c n -> b k c n", k=starts.shape[1])
    border, measured = border[..., :3, :], border[..., 3, :]
    planes = _reweighted_fit(border, measured, measured * starts, distance)

    # by weight, not by count: a plane that cuts through two others has many points at nearly `distance`
    score = (measured * _tukey(_height(planes, border), _TUKEY_SCALES[-1] * distance)).sum(dim=-1)
    # starts that end in the same plane differ by rounding: half a point in favour of the earlier one decides
    order = torch.arange(starts.shape[1], device=points.device) * 0.5
    best = (score - order).argmax(dim=1, keepdim=True)
    agreeing = (measured * (_height(planes, border).abs() <= distance)).sum(dim=-1).gather(1, best)[:, 0]
    found = (agreeing > _MIN_FRAME_SHARE * border.shape[-1]) & (agreeing >= _MIN_AGREEMENT * measured[:, 0].sum(dim=-1))
    return planes.gather(1, best[..., None].expand(-1, -1, 3))[:, 0], found


def _border(values: Tensor, frame: int) -> Tensor:
    """Frame pixels (B, C, N) of (B, C, H, W) values, each at most once."""
    inner = values[..., frame:-frame, :]
    sides = values[..., :frame, :], values[..., -frame:, :], inner[..., :frame], inner[..., -frame:]
    border = torch.cat([rearrange(side, "b c h w -> b c (h w)") for side in sides], dim=2)
    return border[..., :: max(1, border.shape[2] // _ENOUGH_POINTS)]


def _starts(height: int, width: int, frame: int, like: Tensor) -> Tensor:
    """Pixels that each of nine first fits uses, (1, 9, H, W), 0 or 1: all, the four sides, the four quarters.

    Against scattered noise all pixels are best. But an object that covers one side tilts any fit to all pixels for
    good: with a quarter of the frame, at full leverage, even an L1 fit prefers the tilted plane (60 % of the scenes
    above). Fits to a side or corner that is free of the object are not tilted. All fits continue with the whole frame,
    and the one that agrees with most of it wins.
    """
    row, column = (torch.arange(size, device=like.device) for size in (height, width))
    upper, left = 2 * row < height, 2 * column < width
    any_row, any_column = torch.ones_like(upper), torch.ones_like(left)
    top, bottom, start, end = row < frame, row >= height - frame, column < frame, column >= width - frame
    rows = torch.stack((any_row, top, bottom, any_row, any_row, upper, upper, ~upper, ~upper))
    columns = torch.stack((any_column, any_column, any_column, start, end, left, ~left, left, ~left))
    # as factors, which take a hundredth of the space in an exported file
    return (rows[:, :, None] & columns[:, None])[None].to(like.dtype)


def _reweighted_fit(points: Tensor, measured: Tensor, weight: Tensor, distance: float) -> Tensor:
    """Robust planes (B, K, 3) of (B, K, 3, N) points from K starts."""
    planes = _fit(points, weight)
    for _ in range(_L1_ROUNDS):
        planes = _fit(points, weight / _height(planes, points).abs().clamp(min=0.1 * distance))
    for scale in _TUKEY_SCALES:
        planes = _fit(points, measured * _tukey(_height(planes, points), scale * distance))
    return planes


def _tukey(height: Tensor, scale: float) -> Tensor:
    """Tukey's biweight: 1 on the plane, 0 from `scale` on."""
    return (1 - (height / scale).square()).clamp(min=0).square()


def _fit(points: Tensor, weight: Tensor) -> Tensor:
    """Planes (..., 3) by weighted least squares of z = a x + b y + c over (..., 3, N); level for points on a line."""
    total = weight.sum(dim=-1).clamp(min=1e-12)
    mean = (points * weight[..., None, :]).sum(dim=-1) / total[..., None]
    x, y, z = (points - mean[..., None]).unbind(dim=-2)
    wx, wy = weight * x, weight * y
    xx, xy, yy, xz, yz = ((u * v).sum(dim=-1) / total for u, v in ((wx, x), (wx, y), (wy, y), (wx, z), (wy, z)))
    # Cramer's rule; the determinant is the product of the larger and the smaller variance of the points
    determinant = xx * yy - xy.square()
    spread = determinant > _MIN_SPREAD * (xx + yy).square()
    determinant = determinant.where(spread, math.inf)
    a, b = (xz * yy - yz * xy) / determinant, (yz * xx - xz * xy) / determinant
    return torch.stack((a, b, mean[..., 2] - a * mean[..., 0] - b * mean[..., 1]), dim=-1)


def _height(plane: Tensor, points: Tensor) -> Tensor:
    """Distance (..., N) in metres of (..., 3, N) points from (..., 3) planes, positive in front of them."""
    a, b, c = plane[..., None].unbind(dim=-2)
    x, y, z = points.unbind(dim=-2)
    return (a * x + b * y + c - z) / (1 + a.square() + b.square()).sqrt()


def _open(mask: Tensor, valid: Tensor) -> Tensor:
    """Remove from a (B, H, W) mask what no 3x3 square fits into; everything beyond the image counts as foreground.

    For this, an unmeasured pixel counts as foreground if most of its neighbours are; otherwise single pixels lost by a
    real sensor would eat the part around them.
    """
    solid = mask[:, None].to(torch.float32)
    lost = ~valid[:, None] & (functional.avg_pool2d(solid, 3, stride=1, padding=1) > 0.5)
    # max-pooling pads with minus infinity: foreground for the erosion (of the negative), background for the dilation
    eroded = -functional.max_pool2d(-solid.where(~lost, 1.0), 3, stride=1, padding=1)
    return mask & (functional.max_pool2d(eroded, 3, stride=1, padding=1)[:, 0] > 0)
