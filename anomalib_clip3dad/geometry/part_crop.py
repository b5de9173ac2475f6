# SPDX-License-Identifier: Apache-2.0
"""Crop image and cloud to the part and enlarge them, and paste an anomaly map of the crop back into the whole image."""

from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor

_FAINT = 20  # rows and columns with 20 times fewer pixels than the fullest are left out: specks must not widen the box


class PartBox(NamedTuple):
    """Where the part is, in whole pixels of the image, as float32 numbers.

    Attributes:
        top: `(B,)`, first row.
        left: `(B,)`, first column.
        height: `(B,)`, number of rows.
        width: `(B,)`, number of columns.
    """

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor

    def rows(self, rows: slice) -> "PartBox":
        """Select samples."""
        return PartBox(*(side[rows] for side in self))


def find_part(foreground: Tensor, margin: float = 1.25) -> PartBox:
    """Find a square around the part, inside the image.

    Not in the paper; our choice. CLIP reads few pixels; a part that fills them shows smaller defects.

    Args:
        foreground: `(B, H, W)` bool, true = part.
        margin: Side of the square over the longer side of the part's box; at least 1.

    Returns:
        The square, at most H rows and W columns; the whole image if there is no foreground.

    Example:
        >>> foreground = torch.zeros(1, 20, 20, dtype=torch.bool)
        >>> foreground[0, 4:12, 14:18] = True
        >>> [side.item() for side in find_part(foreground)]
        [3.0, 10.0, 10.0, 10.0]
    """
    inside = foreground.to(torch.float32)
    spans = [_span(inside.sum(dim=axis)) for axis in (2, 1)]
    side = torch.maximum(*(last - first + 1 for first, last in spans))
    # the quarter keeps rounding errors of the product from adding a pixel; whole numbers times 1.25 are exact
    side = (margin * side - 0.25).ceil()
    sides = []
    for (first, last), length in zip(spans, foreground.shape[1:], strict=True):
        long = side.clamp(max=length)
        start = ((first + last + 1 - long) / 2).floor()
        sides.append((torch.minimum(start, length - long).clamp(min=0), long))
    (top, height), (left, width) = sides
    return PartBox(top, left, height, width)


def _span(counts: Tensor) -> tuple[Tensor, Tensor]:
    """First and last index (B,) where (B, N) counts are more than a trace; 0 and N - 1 if there is none."""
    place = torch.arange(counts.shape[1], dtype=counts.dtype, device=counts.device)
    full = _FAINT * counts > counts.amax(dim=1, keepdim=True)  # integers: the same in every runtime
    last = place[-1]
    return place.where(full, last).amin(dim=1) * full.any(dim=1), place.where(full, -last).amax(dim=1).abs()


def crop_image(image: Tensor, box: PartBox, size: tuple[int, int]) -> Tensor:
    """Cut the box out and resize it, bicubic and antialiased like CLIP's own preprocessing.

    Args:
        image: `(B, C, H, W)` in [0, 1].
        box: Where to cut.
        size: Rows and columns of the result.

    Returns:
        `(B, C, *size)` in [0, 1]. Computed with matrix products, which give the same result in every runtime.
    """
    rows = _shares(box.top, box.height, image.shape[2], size[0])
    columns = _shares(box.left, box.width, image.shape[3], size[1])
    return (rows[:, None] @ image @ rearrange(columns, "b new old -> b 1 old new")).clamp(0, 1)


def crop_nearest(values: Tensor, box: PartBox, size: tuple[int, int]) -> Tensor:
    """Cut the box out and resize it to the nearest pixels: for clouds and masks, which must not be interpolated.

    Args:
        values: `(B, C, H, W)` of any type.
        box: Where to cut.
        size: Rows and columns of the result.

    Returns:
        `(B, C, *size)`.
    """
    rows, columns = _picked(box.top, box.height, size[0]), _picked(box.left, box.width, size[1])
    rows = rearrange(rows, "b r -> b 1 r 1").expand(-1, values.shape[1], -1, values.shape[3])
    picked = values.gather(2, rows)
    columns = rearrange(columns, "b c -> b 1 1 c").expand(-1, values.shape[1], size[0], -1)
    return picked.gather(3, columns)


def paste_map(anomaly_map: Tensor, box: PartBox, size: tuple[int, int]) -> Tensor:
    """Paste the anomaly map of the box back into the whole image.

    Args:
        anomaly_map: `(B, h, w)`, anomaly map of the box.
        box: Where the box was cut.
        size: Rows and columns of the whole image.

    Returns:
        `(B, *size)`, bilinear; 0 outside the box.
    """
    rows = _spread(box.top, box.height, anomaly_map.shape[1], size[0])
    columns = _spread(box.left, box.width, anomaly_map.shape[2], size[1])
    return rows @ anomaly_map @ columns.mT


def _picked(first: Tensor, length: Tensor, new: int) -> Tensor:
    """Source pixel (B, new) of each new pixel."""
    step = torch.arange(new, dtype=first.dtype, device=first.device)
    # half a unit added to the integer numerator keeps the quotient off integers, so that rounding never changes the
    # floor
    offset = ((length[:, None] * (2 * step + 1) + 0.5) / (2 * new)).floor()
    return (first[:, None] + torch.minimum(offset, length[:, None] - 1)).long()


def _shares(first: Tensor, length: Tensor, old: int, new: int) -> Tensor:
    """Weight (B, new, old) of each old pixel in each new pixel of the box."""
    place = torch.arange(old, dtype=first.dtype, device=first.device) + 0.5
    step = torch.arange(new, dtype=first.dtype, device=first.device) + 0.5
    scale = (length / new)[:, None, None]
    centre = first[:, None, None] + step[:, None] * scale
    distance = ((place - centre) / scale.clamp(min=1)).abs()
    weights = cubic(distance) * (distance < 2)
    return weights / weights.sum(dim=2, keepdim=True)


def _spread(first: Tensor, length: Tensor, old: int, new: int) -> Tensor:
    """Weight (B, new, old) of each pixel of the box's map in each pixel of the image; 0 outside the box."""
    place = torch.arange(old, dtype=first.dtype, device=first.device) + 0.5
    step = torch.arange(new, dtype=first.dtype, device=first.device) + 0.5
    scale = (old / length)[:, None, None]
    centre = (step[:, None] - first[:, None, None]) * scale
    inside = (centre > 0) & (centre < old)
    # at the border only the outermost pixel counts
    centre = centre.clamp(0.5, old - 0.5)
    weights = (1 - (place - centre).abs() / scale.clamp(min=1)).clamp(min=0)
    return weights / weights.sum(dim=2, keepdim=True).clamp(min=1e-6) * inside


def cubic(distance: Tensor) -> Tensor:
    """Keys' cubic with a = -0.5, as in PIL's and PyTorch's antialiased bicubic: (...) to (...), distances below 2."""
    near = (1.5 * distance - 2.5) * distance * distance + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    return near.where(distance < 1, far)
