# SPDX-License-Identifier: Apache-2.0
"""Sheets of pairs: what the synthesis of anomalies makes of normal samples, and what the model sees of it."""

from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from anomalib_clip3dad.geometry import crop_image, crop_nearest, find_part, foreground_mask

from .relief import relief
from .tiles import SHAPE, TRUTH

_PAIRS, _VIEWS = 4, 5  # most that are drawn
_TILE, _GAP = 160, 6  # pixels
_DPI = 100


def draw_sheet(model: Any, batch: Any, title: str) -> Figure:
    """Draw pairs: image, height and views of each normal sample, and below them those of its anomalous partner.

    Args:
        model: An `RGBXYZModel`, whose `render` gives the views.
        batch: Pairs as of `AnomalySynthesis`: `image` (2 B, 3, H, W), `depth_map` (2 B, 3, H, W) in metres, (0, 0, 0) =
            not measured, and `gt_mask` (2 B, H, W).
        title: Title of the sheet.

    Returns:
        The figure, with at most four pairs and five views; images are cropped to the part, the anomaly is outlined.
    """
    pairs = len(batch.image) // 2
    rows = [row + half * pairs for row in range(min(pairs, _PAIRS)) for half in (0, 1)]
    image, xyz, mask = (each.as_subclass(Tensor)[rows] for each in (batch.image, batch.depth_map, batch.gt_mask))
    foreground = foreground_mask(xyz)
    views = model.render(image, xyz, foreground)
    # both of a pair are cropped alike
    box = find_part(foreground[::2].repeat_interleave(2, dim=0))
    size = (_TILE, _TILE)
    outlined = _outlined(crop_image(image, box, size), crop_nearest(mask[:, None].bool(), box, size)[:, 0])
    columns = [outlined, _heights(crop_nearest(xyz, box, size))]
    names = ["image", "height"]
    for number in range(0 if views is None else min(views.shape[1], _VIEWS)):
        columns.append(torch.nn.functional.interpolate(views[:, number], size, mode="bilinear", antialias=True).cpu())
        names.append(f"view {number + 1}")
    return _arranged(columns, names, title)


def _outlined(image: Tensor, mask: Tensor) -> Tensor:
    """Images (N, 3, S, S) with the rim of each mask (N, S, S) in colour."""
    grown = torch.nn.functional.max_pool2d(mask[:, None].float(), 3, stride=1, padding=1).bool()
    colour = torch.tensor(mpl.colors.to_rgb(TRUTH))[:, None, None]
    return torch.where((grown & ~mask[:, None]).cpu(), colour, image.cpu())


def _heights(xyz: Tensor) -> Tensor:
    """Colours (N, 3, S, S) of the height of clouds (N, 3, S, S) above their planes; a pair has one scale."""
    values = np.stack([relief(cloud).values for cloud in xyz])
    shown = []
    for pair in values.reshape(-1, 2, *values.shape[1:]):
        low, high = np.nanpercentile(pair, (1, 99)) if np.isfinite(pair).any() else (0.0, 1.0)
        colours = mpl.colormaps[SHAPE]((pair - low) / max(high - low, 1e-6))[..., :3]
        shown.append(np.where(np.isnan(pair)[..., None], 1.0, colours))
    return torch.from_numpy(np.concatenate(shown)).movedim(-1, 1).float()


def _arranged(columns: list[Tensor], names: list[str], title: str) -> Figure:
    """One figure of columns of images (N, 3, S, S), a row for each sample, pairs apart."""
    count = len(columns[0])
    tops = [_TILE * row + _GAP * (row + 2 * (row // 2)) for row in range(count)]
    lefts = [(_TILE + _GAP) * column for column in range(len(columns))]
    paper = np.ones((tops[-1] + _TILE, lefts[-1] + _TILE, 3))
    for left, tiles in zip(lefts, columns, strict=True):
        for top, tile in zip(tops, tiles, strict=True):
            paper[top : top + _TILE, left : left + _TILE] = tile.clamp(0, 1).movedim(0, -1)
    head, side, rim = 0.6, 0.3, 0.1  # inches
    wide, high = paper.shape[1] / _DPI + side + rim, paper.shape[0] / _DPI + head + rim
    figure = Figure(figsize=(wide, high), dpi=_DPI, facecolor="white")
    place = figure.add_axes((side / wide, rim / high, 1 - (side + rim) / wide, 1 - (head + rim) / high))
    place.set_axis_off()
    place.imshow(paper, interpolation="nearest", aspect="auto")
    figure.text(side / wide, 1 - 0.08 / high, title, va="top", fontsize=10)
    for left, name in zip(lefts, names, strict=True):
        place.text(left + _TILE / 2, -8, name, ha="center", fontsize=9)
    for row, top in enumerate(tops):
        said = ("normal", "anomalous")[row % 2]
        place.text(-8, top + _TILE / 2, said, rotation=90, ha="right", va="center", fontsize=9)
    return figure
