# SPDX-License-Identifier: Apache-2.0
"""From maps of views back to the points that the views show."""

import torch
from einops import rearrange
from scipy.spatial import cKDTree
from torch import Tensor
from torch.nn import functional

from .organised import is_unorganised


def back_project(maps: Tensor, cells: Tensor, visible: Tensor) -> Tensor:
    """Average maps of views over the views that see a point.

    GS-CLIP: s(p) = sum_i vis_i(p) M_i[y_i(p), x_i(p)] / sum_i vis_i(p).

    Args:
        maps: `(B, v, S, S)`, values of the pixels of each view.
        cells: `(B, v, N)` int64, row * S + column of every point's pixel; any pixel where it is not visible.
        visible: `(B, v, N)` bool.

    Returns:
        `(B, N)`; 0 for points that no view sees.

    Example:
        >>> maps = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]]])
        >>> back_project(maps, torch.tensor([[[3, 0], [0, 1]]]), torch.tensor([[[True, True], [True, False]]]))
        tensor([[4.5000, 1.0000]])
    """
    values = rearrange(maps, "b v r c -> b v (r c)").gather(2, cells)
    return values.where(visible, 0.0).sum(dim=1) / visible.sum(dim=1).clamp(min=1)


def pixel_cells(positions: Tensor, size: int) -> Tensor:
    """Find the pixel of every point in every view.

    Args:
        positions: `(B, v, 2, N)`, column, then row, continuous, pixel centres at integers, see `Raster`.
        size: S, rows and columns of the views.

    Returns:
        `(B, v, N)` int64, row * S + column; of points outside the image the nearest pixel.
    """
    column, row = (positions + 0.5).floor().clamp(0, size - 1).long().unbind(dim=2)
    return row * size + column


def fill_unseen(values: Tensor, seen: Tensor, xyz: Tensor, foreground: Tensor) -> Tensor:
    """Give points that no view sees the value of points nearby.

    GS-CLIP's code copies the visibility of the nearest point in the order of the file, which says nothing about space;
    here nearness counts. In an organised cloud, a point takes the mean of the seen ones in the smallest square of 2, 4,
    8 ... pixels around it that has any, which every runtime can compute; otherwise the value of the nearest seen point.

    Args:
        values: `(B, H, W)`, values of the points that are seen.
        seen: `(B, H, W)` bool.
        xyz: `(B, 3, H, W)`, metres.
        foreground: `(B, H, W)` bool, the points that count.

    Returns:
        `(B, H, W)`; 0 outside the foreground, and everywhere if nothing is seen.
    """
    seen = seen & foreground
    filled = _by_space(values, seen, xyz, foreground) if is_unorganised(xyz) else _by_squares(values, seen)
    return filled.where(foreground, 0.0)


def _by_squares(values: Tensor, seen: Tensor) -> Tensor:
    height, width = values.shape[1:]
    found, known = values.where(seen, 0.0), seen
    weight = seen.to(values.dtype)[:, None]
    total, side = found[:, None], 1
    while side < max(height, width):
        side *= 2
        padding = (0, total.shape[3] % 2, 0, total.shape[2] % 2)
        total, weight = (4 * functional.avg_pool2d(functional.pad(each, padding), 2) for each in (total, weight))
        row, column = (torch.arange(length, device=values.device) // side for length in (height, width))
        mean, some = ((each[:, 0][:, row][:, :, column]) for each in (total / weight.clamp(min=1), weight > 0))
        found, known = torch.where(~known & some, mean, found), known | some
    return found


def _by_space(values: Tensor, seen: Tensor, xyz: Tensor, foreground: Tensor) -> Tensor:
    filled = values.clone()
    for row, (those, missing) in enumerate(zip(seen, foreground & ~seen, strict=True)):
        if those.any() and missing.any():
            places = cKDTree(xyz[row][:, those].T.cpu().numpy())
            nearest = places.query(xyz[row][:, missing].T.cpu().numpy())[1]
            filled[row][missing] = values[row][those][torch.from_numpy(nearest).to(values.device)]
    return filled
