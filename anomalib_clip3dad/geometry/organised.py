# SPDX-License-Identifier: Apache-2.0
"""Organised point clouds: what counts as measured, and how to resize them without inventing points."""

import torch
from torch import Tensor, isfinite


def check_shape(name: str, value: Tensor, wanted: str) -> None:
    """Refuse a tensor that is not a batch of three-channel somethings.

    Args:
        name: The argument's name, for the message.
        value: The tensor to check: axis 1 must have size 3.
        wanted: The layout in words, such as `"(B, 3, H, W)"`, with one entry per axis.

    Raises:
        ValueError: The number of axes or of channels is another.
    """
    if value.ndim != wanted.count(",") + 1 or value.shape[1] != 3:
        remedy = "channels come before rows and columns, and a single sample needs a batch axis (`x[None]`)"
        msg = f"`{name}` has shape {tuple(value.shape)}, wanted {wanted}: {remedy}."
        raise ValueError(msg)


def validity_mask(xyz: Tensor) -> Tensor:
    """Say which pixels of an organised cloud were measured.

    The paper does not give it: our choice. A point is measured when its three coordinates are finite and it lies in
    front of the camera. That covers the two ways sensors write "no data", (0, 0, 0) and NaN, with one test. Make the
    mask once per cloud and hand it on.

    Args:
        xyz: `(B, 3, H, W)`, metres, camera frame (x right, y down, z forward), (0, 0, 0) or non-finite = not measured.

    Returns:
        `(B, H, W)` bool, true = measured.

    Raises:
        ValueError: `xyz` is not `(B, 3, H, W)`.

    Example:
        >>> import torch
        >>> cloud = torch.tensor([[0.1, 0.2, 0.5], [0.0, 0.0, 0.0], [float("nan"), 0.0, 0.5]])
        >>> validity_mask(cloud.T.reshape(1, 3, 1, 3))
        tensor([[[ True, False, False]]])
    """
    check_shape("xyz", xyz, "(B, 3, H, W)")
    return isfinite(xyz).all(dim=1) & (xyz[:, 2] > 0)


def resize_organised(xyz: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize an organised cloud by picking points, never by mixing them.

    The paper does not give it: our choice. Bilinear resizing invents points between an object's edge and the
    background, so each output pixel is one input pixel. Sampling is that of `torchvision.transforms.v2.Resize` on a
    mask, so that cloud and ground truth stay aligned, but exact: 500 rows to 480 differ by one row in six places, where
    float32 rounds below a whole number there.

    Args:
        xyz: `(B, 3, H, W)`, metres, camera frame, (0, 0, 0) or non-finite = not measured.
        size: Rows and columns wanted.

    Returns:
        `(B, 3, *size)`, metres, camera frame; every point that was not measured is exactly (0, 0, 0).

    Raises:
        ValueError: `xyz` is not `(B, 3, H, W)`.

    Example:
        >>> import torch
        >>> resize_organised(torch.arange(1.0, 13.0).reshape(1, 3, 1, 4), (1, 2))[0, :, 0].tolist()
        [[1.0, 3.0], [5.0, 7.0], [9.0, 11.0]]
    """
    check_shape("xyz", xyz, "(B, 3, H, W)")
    # picked by index, since other runtimes round the places of their own "nearest" differently
    rows, columns = (_nearest(xyz.shape[axis], size[axis], xyz) for axis in (-2, -1))
    xyz = xyz.index_select(-2, rows).index_select(-1, columns)
    return xyz.where(validity_mask(xyz)[:, None], 0.0)


def _nearest(found: int, wanted: int, like: Tensor) -> Tensor:
    """Which of `found` rows each of `wanted` ones is: floor(i found / wanted)."""
    step = torch.arange(wanted, dtype=torch.float32, device=like.device)
    # half a unit more than a whole numerator: the quotient never lies at a rim, whatever rounds it
    return ((step * found + 0.5) / wanted).floor().clamp(max=found - 1).long()
