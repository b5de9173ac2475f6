# SPDX-License-Identifier: Apache-2.0
"""The tiles of a panel: each draws one aspect of a sample into a place of a figure."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from anomalib.data import DepthItem
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from torch import Tensor

from anomalib_clip3dad.data import EVIDENCE_KINDS
from anomalib_clip3dad.data.files import read_picture
from anomalib_clip3dad.errors import InputError
from anomalib_clip3dad.geometry import validity_mask

from .relief import relief

_HEAT, SHAPE = "inferno", "viridis"  # even steps of lightness, also in grey print and to the colour-blind
_OUTLINE, TRUTH = "cyan", "lime"
_MOST_EVIDENCE = 3.0  # three times the most that normal parts show is as bright as any
_OPAQUE = 0.85


class Scale(NamedTuple):
    """What the colours of a tile mean.

    Attributes:
        colours: The values' colours.
        label: What the values are, with their unit.
    """

    colours: ScalarMappable
    label: str


class Tile(NamedTuple):
    """One tile.

    Attributes:
        title: Its title.
        draw: Draws it; returns the scale of its colours, if they have one.
    """

    title: str
    draw: Callable[[Axes], Scale | None]


def tiles_of(item: DepthItem, views: Tensor | None = None) -> Iterator[Tile]:
    """List the tiles of a sample, as far as it has what they show.

    Args:
        item: Holds `image` or the file `image_path`, and any of `depth_map`, `gt_mask`, `anomaly_map`, `pred_mask` and
            `evidence`.
        views: (v, 3, S, S) RGB in [0, 1], its rendered views; None without.

    Yields:
        Image, depth, truth, anomaly map, each kind of evidence, each view; of unorganised points z, truth
        and scores.
    """
    if item.depth_map is not None and item.depth_map.ndim == 3 and item.depth_map.shape[1] == 1:
        yield from _tiles_of_points(item, item.depth_map)
        return
    image = shown_image(item)
    yield Tile("image", partial(_draw_image, image))
    if item.depth_map is not None and item.depth_map.ndim == 3 and (item.depth_map[2] > 0).any():
        yield Tile("depth", partial(_draw_relief, item.depth_map))
    if item.gt_mask is not None:
        truth = _array(item.gt_mask).astype(bool)
        yield Tile("truth" if truth.any() else "truth: no defect", partial(_draw_truth, image, truth))
    if item.anomaly_map is not None:
        mask = None if item.pred_mask is None else _array(item.pred_mask).astype(bool)
        yield Tile("anomaly map", partial(_draw_heat, image, _array(item.anomaly_map), mask))
    evidence = getattr(item, "evidence", None)
    for kind, values in zip(EVIDENCE_KINDS, () if evidence is None else evidence, strict=False):
        yield Tile(f"evidence: {kind}", partial(_draw_evidence, _array(values)))
    for number, view in enumerate(() if views is None else views, start=1):
        yield Tile(f"view {number}", partial(_draw_image, np.moveaxis(view.cpu().numpy(), 0, -1)))


def _tiles_of_points(item: DepthItem, xyz: Tensor) -> Iterator[Tile]:
    """Each seen along z and along y."""
    there = validity_mask(xyz[None])[0, 0].cpu().numpy()
    points = xyz.detach().float().cpu().numpy()[:, 0, there].T
    for name, values in (("z", xyz[2]), ("truth", item.gt_mask), ("score", item.anomaly_map)):
        if values is not None:
            known = _array(values)[0, there]
            for axis in ("z", "y"):
                yield Tile(f"{name}, seen along {axis}", partial(_draw_points, points, known, name, axis))


def shown_image(item: DepthItem) -> np.ndarray:
    """RGB (H, W, 3) in [0, 1]: the file at its own size, or that of the batch where there is none."""
    if item.image_path and Path(item.image_path).is_file():
        try:
            return np.moveaxis(read_picture(item.image_path), 0, -1)
        except InputError:  # other data modules may read what ours refuse
            pass
    assert item.image is not None  # noqa: S101  # of the batch
    return np.moveaxis(item.image.float().clamp(0, 1).cpu().numpy(), 0, -1)


def _array(values: Tensor) -> np.ndarray:
    return values.detach().float().cpu().numpy().reshape(values.shape[-2:])


def _extent(image: np.ndarray) -> Any:
    """Places maps of another size over the image."""
    return (-0.5, image.shape[1] - 0.5, image.shape[0] - 0.5, -0.5)


def _draw_image(image: np.ndarray, place: Axes) -> None:
    place.imshow(image.clip(0, 1))


def _draw_relief(xyz: Tensor, place: Axes) -> Scale:
    values, label = relief(xyz)
    # single points far off would take all the colours
    low, high = np.nanpercentile(values, (1, 99))
    drawn = place.imshow(values, cmap=SHAPE, vmin=low, vmax=max(high, low + 1e-6))
    return Scale(drawn, label)


def _draw_truth(image: np.ndarray, mask: np.ndarray, place: Axes) -> None:
    place.imshow(_grey(image), cmap="gray", vmin=0, vmax=1)
    _outline(place, image, mask, TRUTH)


def _draw_heat(image: np.ndarray, anomaly_map: np.ndarray, mask: np.ndarray | None, place: Axes) -> Scale:
    """The image in grey shows through where the map is low; the outline is where it is above the threshold."""
    place.imshow(_grey(image), cmap="gray", vmin=0, vmax=1)
    known = np.isfinite(anomaly_map)
    inside = known.all() and anomaly_map.min() >= 0 and anomaly_map.max() <= 1
    limits = (0.0, 1.0) if inside or not known.any() else (anomaly_map[known].min(), anomaly_map[known].max())
    norm = Normalize(limits[0], max(limits[1], limits[0] + 1e-6))
    level = np.nan_to_num(norm(np.nan_to_num(anomaly_map, nan=limits[1], posinf=limits[1], neginf=limits[0])))
    colours = mpl.colormaps[_HEAT](level)
    colours[..., 3] = _OPAQUE * level
    place.imshow(colours, extent=_extent(image), interpolation="bilinear")
    if mask is not None:
        _outline(place, image, mask, _OUTLINE)
    return Scale(ScalarMappable(norm, _HEAT), "score")


def _draw_points(points: np.ndarray, values: np.ndarray, name: str, axis: str, place: Axes) -> Scale:
    across, up, along = (0, 1, 2) if axis == "z" else (0, 2, 1)
    order = points[:, along].argsort()  # what is nearer covers what is behind it
    x, y = points[order, across], points[order, up]
    drawn = place.scatter(x, y, c=np.nan_to_num(values[order]), s=1, cmap=_HEAT if name == "score" else SHAPE)
    place.set_aspect("equal")
    return Scale(drawn, name)


def _draw_evidence(values: np.ndarray, place: Axes) -> Scale:
    drawn = place.imshow(values, cmap=_HEAT, vmin=0, vmax=_MOST_EVIDENCE)
    return Scale(drawn, "1 = the most of normal parts")


def _outline(place: Axes, image: np.ndarray, mask: np.ndarray, colour: str) -> None:
    if not mask.any():
        return
    # with a rim, so that a mask that reaches the border has an outline there, too
    rimmed = np.pad(mask, 1).astype(float)
    (high, wide), (rows, columns) = image.shape[:2], mask.shape
    x = (np.arange(-1, columns + 1) + 0.5) * wide / columns - 0.5
    y = (np.arange(-1, rows + 1) + 0.5) * high / rows - 0.5
    place.contour(x.clip(0, wide - 1), y.clip(0, high - 1), rimmed, [0.5], colors=colour, linewidths=1.2)


def _grey(image: np.ndarray) -> np.ndarray:
    return (image.clip(0, 1) @ np.array([0.299, 0.587, 0.114])).clip(0, 1)
