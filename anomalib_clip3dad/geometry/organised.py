# SPDX-License-Identifier: Apache-2.0
"""Organised point clouds: what counts as measured, and how to resize them without inventing points."""

import torch
from torch import Tensor, isfinite


def check_shape(name: str, value: Tensor, wanted: str) -> None:
    """Raise if a tensor does not have the wanted number of axes with 3 channels in axis 1.

    Args:
        name: Name of the argument, for the error message.
        value: The tensor to check: axis 1 must have size 3.
        wanted: Layout in words with one entry per axis, such as `"(B, 3, H, W)"`.

    Raises:
        ValueError: If the number of axes or channels differs.
    """
    if value.ndim != wanted.count(",") + 1 or value.shape[1] != 3:
        remedy = "channels come before rows and columns, and a single sample needs a batch axis (`x[None]`)"
        msg = f"`{name}` has shape {tuple(value.shape)}, wanted {wanted}: {remedy}."
        raise ValueError(msg)


def validity_mask(xyz: Tensor) -> Tensor:
    """Find the measured pixels of an organised cloud.

    The paper does not specify this; our choice. A point is measured if its three coordinates are finite and it lies in
    front of the camera. This one test covers both ways in which sensors write "no data", (0, 0, 0) and NaN. Compute the
    mask once per cloud and pass it on. Unorganised clouds have no camera, and only (0, 0, 0) and NaN are no points.

    Args:
        xyz: `(B, 3, H, W)`, metres, camera frame (x right, y down, z forward), (0, 0, 0) or non-finite = not measured.

    Returns:
        `(B, H, W)` bool, true = measured.

    Raises:
        ValueError: If `xyz` is not `(B, 3, H, W)`.

    Example:
        >>> import torch
        >>> cloud = torch.tensor([[0.1, 0.2, 0.5], [0.0, 0.0, 0.0], [float("nan"), 0.0, 0.5]])
        >>> validity_mask(cloud.T.reshape(1, 3, 3, 1))[..., 0]
        tensor([[ True, False, False]])
    """
    check_shape("xyz", xyz, "(B, 3, H, W)")
    if is_unorganised(xyz):
        return isfinite(xyz).all(dim=1) & (xyz != 0).any(dim=1)
    return isfinite(xyz).all(dim=1) & (xyz[:, 2] > 0)


def is_unorganised(xyz: Tensor) -> bool:
    """Whether clouds are mere lists of points, which a single row says: no sensor has one.

    Args:
        xyz: `(B, 3, H, W)`; `(B, 3, 1, N)` is unorganised, with (0, 0, 0) = no point.
    """
    return xyz.shape[2] == 1


def resize_organised(xyz: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize an organised cloud by picking points, never by mixing them.

    The paper does not specify this; our choice. Bilinear resizing would invent points between an object's edge and the
    background, so each output pixel copies one input pixel. It is the pixel that `torchvision.transforms.v2.Resize`
    picks from a mask, so that cloud and ground truth stay aligned, but computed exactly: from 500 to 480 rows,
    torchvision is off by one row in six places, because float32 rounds to just below a whole number.

    Args:
        xyz: `(B, 3, H, W)`, metres, camera frame, (0, 0, 0) or non-finite = not measured.
        size: Rows and columns of the result.

    Returns:
        `(B, 3, *size)`, metres, camera frame; every point that was not measured is exactly (0, 0, 0). An unorganised
        cloud keeps its points.

    Raises:
        ValueError: If `xyz` is not `(B, 3, H, W)`.

    Example:
        >>> import torch
        >>> resize_organised(torch.arange(1.0, 25.0).reshape(1, 3, 2, 4), (2, 2))[0, :, 0].tolist()
        [[1.0, 3.0], [9.0, 11.0], [17.0, 19.0]]
    """
    check_shape("xyz", xyz, "(B, 3, H, W)")
    if is_unorganised(xyz):
        return xyz.where(validity_mask(xyz)[:, None], 0.0)
    # picked by index, since the "nearest" mode of other runtimes rounds differently
    rows, columns = (_nearest(xyz.shape[axis], size[axis], xyz) for axis in (-2, -1))
    xyz = xyz.index_select(-2, rows).index_select(-1, columns)
    return xyz.where(validity_mask(xyz)[:, None], 0.0)


def _nearest(found: int, wanted: int, like: Tensor) -> Tensor:
    """Source row of each of `wanted` rows out of `found`: floor(i found / wanted)."""
    step = torch.arange(wanted, dtype=torch.float32, device=like.device)
    # half a unit added to the integer numerator keeps the quotient off integers, so that rounding never changes the
    # floor
    return ((step * found + 0.5) / wanted).floor().clamp(max=found - 1).long()
