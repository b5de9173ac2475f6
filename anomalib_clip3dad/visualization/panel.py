# SPDX-License-Identifier: Apache-2.0
"""Panels: what a model saw in one sample, and what it says of it."""

import textwrap
from pathlib import Path
from typing import Any

from anomalib.data import DepthBatch, DepthItem
from anomalib.loggers.base import ImageLoggerBase
from anomalib.visualization import Visualizer
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from anomalib_clip3dad.errors import InputError
from anomalib_clip3dad.labels import label_of

from .tiles import Tile, tiles_of

_DPI = 100
_PARTS = 3  # of a sample's path in its name: split, kind, file
# inches
_SIDE, _TITLE, _BAR, _SCALE, _GAP = 2.3, 0.24, 0.08, 0.42, 0.12
_LINE, _LETTER = 0.18, 0.095  # height of a line and width of a letter of the heading


class DepthVisualizer(Visualizer):
    """Draws a panel of each tested or predicted sample, saves it, and gives it to anomalib's loggers.

    A panel has the file, score, threshold, label and kind of defect as its heading; below stand image, depth, truth,
    anomaly map with the outline of the predicted mask, and the evidence, where the model tells it.

    Files are named after the last folders of the image, without "rgb": `test/hole/000.png`. anomalib names those of 3D
    data `rgb/000.png`, so that defect types overwrite each other (seen in anomalib 2.7.0).

    Args:
        columns: Number of tiles side by side.
        views: Whether to draw the rendered views, too, for models that have them.
        output_dir: Folder of the panels; None: `images` in the run's folder.

    Raises:
        ValueError: If there is no column.
    """

    def __init__(self, columns: int = 4, views: bool = False, output_dir: str | Path | None = None) -> None:
        super().__init__()
        if columns < 1:
            msg = f"columns={columns}: at least 1 is needed"
            raise InputError(msg)
        self.columns = columns
        self.views = views
        self.output_dir = output_dir

    def on_test_batch_end(
        self,
        trainer: Any,
        pl_module: Any,
        outputs: Any,  # noqa: ARG002
        batch: DepthBatch,
        batch_idx: int = 0,
        *_: int,
    ) -> None:
        """Draw, save and log the samples of a batch."""
        folder = Path(self.output_dir or Path(trainer.default_root_dir) / "images")
        loggers = [each for each in getattr(trainer, "loggers", ()) if isinstance(each, ImageLoggerBase)]
        views = self._views(pl_module, batch)
        parts = parts_of_names(trainer)
        for i, item in enumerate(batch):
            panel = draw_panel(item, self.columns, threshold_of(pl_module), None if views is None else views[i])
            name = picture_name(item.image_path, parts) if item.image_path else Path(f"{batch_idx:03d}_{i:03d}.png")
            file = (folder / name).with_suffix(".png")
            file.parent.mkdir(parents=True, exist_ok=True)
            panel.savefig(file, dpi=_DPI)
            for logger in loggers:
                logger.add_image(image=panel, name=name.as_posix(), global_step=trainer.global_step)

    on_predict_batch_end = on_test_batch_end  # type: ignore[assignment]

    def _views(self, model: Any, batch: Any) -> Tensor | None:
        if not self.views or not hasattr(model, "render"):
            return None
        return model.render(*model.prepare(batch.image.as_subclass(Tensor), batch.depth_map))


def draw_panel(
    item: DepthItem, columns: int = 4, threshold: float | None = None, views: Tensor | None = None
) -> Figure:
    """Draw one sample.

    Args:
        item: See `tiles_of`; `pred_score`, `pred_label` and `image_path` make the heading.
        columns: Number of tiles side by side.
        threshold: What the score is compared with; None without a threshold.
        views: See `tiles_of`.

    Returns:
        The figure; every tile has the same size, and nothing overlaps however many columns there are.
    """
    tiles = list(tiles_of(item, views))
    columns = min(columns, len(tiles))
    rows = -(-len(tiles) // columns)
    wide = columns * (_SIDE + _GAP) + _GAP
    lines = [
        line for text in heading(item, threshold) for line in textwrap.wrap(text, int((wide - 2 * _GAP) / _LETTER))
    ]
    each = _TITLE + _SIDE + _BAR + _SCALE + _GAP
    head = _GAP + _LINE * len(lines)
    figure = Figure(figsize=(wide, head + rows * each), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    high = head + rows * each
    for number, line in enumerate(lines):
        figure.text(_GAP / wide, 1 - (_GAP + _LINE * number) / high, line, va="top", fontsize=10, family="DejaVu Sans")
    for number, tile in enumerate(tiles):
        left = _GAP + (number % columns) * (_SIDE + _GAP)
        top = head + (number // columns) * each + _TITLE
        _place(figure, tile, left, high - top - _SIDE, (wide, high))
    return figure


def _place(figure: Figure, tile: Tile, left: float, bottom: float, size: tuple[float, float]) -> None:
    """Draw a tile whose lower left corner is at `left` and `bottom`, all in inches."""
    wide, high = size
    place = figure.add_axes((left / wide, bottom / high, _SIDE / wide, _SIDE / high), anchor="S")
    place.set_axis_off()
    scale = tile.draw(place)
    figure.text((left + _SIDE / 2) / wide, (bottom + _SIDE + 0.05) / high, tile.title, ha="center", fontsize=9)
    if scale is not None:
        strip = (left + 0.1 * _SIDE) / wide, (bottom - _BAR - 0.04) / high, 0.8 * _SIDE / wide, _BAR / high
        bar = figure.colorbar(scale.colours, cax=figure.add_axes(strip), orientation="horizontal")
        bar.ax.tick_params(labelsize=7, length=2, pad=1)
        bar.ax.locator_params(nbins=4)
        bar.set_label(scale.label, fontsize=7, labelpad=1)


def heading(item: DepthItem, threshold: float | None = None) -> list[str]:
    """Write what is above a panel.

    Args:
        item: Sample with its prediction.
        threshold: See `draw_panel`.

    Returns:
        Its file; and its score, threshold, label, and what it is known to be.

    Example:
        >>> import torch
        >>> item = DepthItem(image=torch.rand(3, 4, 4), pred_score=torch.tensor(0.8), pred_label=torch.tensor(True))
        >>> heading(item, 0.5)
        ['score 0.800, threshold 0.500: faulty']
    """
    lines = [picture_name(item.image_path).as_posix()] if item.image_path else []
    said = []
    if item.pred_score is not None:
        said.append(f"score {float(item.pred_score):.3f}")
    if threshold is not None and item.pred_label is not None:
        said.append(f"threshold {threshold:.3f}: {label_of(bool(item.pred_label))}")
    if item.gt_label is not None:
        kind = picture_name(item.image_path).parent.name if item.image_path else label_of(bool(item.gt_label))
        said.append(f"truth: {kind}")
    return [*lines, ", ".join(said)] if said else lines


def threshold_of(model: Any) -> float | None:
    """Threshold of the scores that a model's batches hold; None if it has none."""
    if not getattr(model, "has_threshold", False):
        return None
    post = model.post_processor
    found = post.normalized_image_threshold if post.enable_normalization else post.image_threshold
    return float(found)


def picture_name(image_path: str | Path, parts: int = _PARTS) -> Path:
    """Path of the panel of an image, relative to the folder of panels.

    Args:
        image_path: Path of the image.
        parts: Number of its last parts that tell it from others, see `parts_of_names`.

    Example:
        >>> picture_name("/data/mvtec_3d/tire/test/hole/rgb/000.png").as_posix()
        'test/hole/000.png'
    """
    return Path(*[part for part in Path(image_path).absolute().parts[1:] if part != "rgb"][-parts:])


def parts_of_names(trainer: Any) -> int:
    """Number of parts of a path that tell the samples of a run apart: one more if several categories are tested."""
    data = getattr(getattr(trainer, "datamodule", None), "test_data", None)
    return _PARTS + hasattr(getattr(data, "samples", None), "category")
