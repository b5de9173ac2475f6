# SPDX-License-Identifier: Apache-2.0
"""Results of predictions and tests as files: a table of scores, masks, surfaces, a report; and a summary."""

import csv
from pathlib import Path
from typing import Any

import torch
from anomalib.data import DepthBatch, DepthItem
from lightning.pytorch import Callback
from torch.nn import functional
from torchvision.io import write_png

from anomalib_clip3dad.data.files import image_size
from anomalib_clip3dad.geometry import foreground_mask, is_unorganised, validity_mask
from anomalib_clip3dad.labels import label_of, summary
from anomalib_clip3dad.report import scored_points, surface_of, write_about, write_report, write_surface

from .panel import parts_of_names, picture_name, threshold_of

_COLUMNS = ("file", "score", "label", "kind")


class ResultFiles(Callback):
    """Writes `scores.csv`, each sample's surface with its scores to `surfaces`, and masks of predictions to `masks`.

    At the end `report.html` shows all of it, and a summary is printed.

    The columns of the table are file, score, label (good or faulty) and kind, which is the folder of a sample whose
    true label is known, such as good or hole. Masks have one channel and the size of the image; 255 = anomalous.
    Results are written after every batch, so that an interrupted prediction loses nothing. Without a threshold the
    labels are empty and there are no masks.
    """

    def on_predict_start(self, trainer: Any, pl_module: Any) -> None:
        """Start the table."""
        table = Path(trainer.default_root_dir) / "scores.csv"
        if trainer.is_global_zero:
            table.parent.mkdir(parents=True, exist_ok=True)
            write_about(table.parent, type(pl_module).__name__, threshold_of(pl_module))
            with table.open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerow(_COLUMNS)
        trainer.strategy.barrier()  # before other processes add to it

    on_test_start = on_predict_start

    def on_predict_batch_end(
        self,
        trainer: Any,
        pl_module: Any,
        outputs: Any,
        batch: DepthBatch,
        batch_idx: int,
        *_: int,
    ) -> None:
        """Add the samples of a batch, and write their masks."""
        self.on_test_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if pl_module.has_threshold:
            for index, item in enumerate(batch):
                if item.pred_mask is not None and item.pred_mask.shape[-2] > 1:  # no image of unorganised points
                    name = _name(trainer, item, batch_idx, index).with_suffix(".png")
                    write_mask(item, Path(trainer.default_root_dir) / "masks" / name)

    def on_test_batch_end(
        self,
        trainer: Any,
        pl_module: Any,
        outputs: Any,  # noqa: ARG002
        batch: DepthBatch,
        batch_idx: int,
        *_: int,
    ) -> None:
        """Add the samples of a batch, and write their surfaces."""
        folder = Path(trainer.default_root_dir)
        for index, item in enumerate(batch):
            if item.anomaly_map is not None and item.depth_map is not None:
                name = _name(trainer, item, batch_idx, index).with_suffix(".ply")
                write_surface(_surface(item), folder / "surfaces" / name)
        with (folder / "scores.csv").open("a", newline="", encoding="utf-8") as file:
            for item in batch:
                assert item.pred_score is not None  # noqa: S101
                label = label_of(bool(item.pred_label) if pl_module.has_threshold else None)
                known = item.gt_label is not None and item.image_path
                kind = picture_name(item.image_path).parent.name if known else ""  # type: ignore[arg-type]
                csv.writer(file).writerow([item.image_path, f"{item.pred_score.item():.6f}", label, kind])

    def on_predict_end(self, trainer: Any, pl_module: Any) -> None:  # noqa: ARG002
        """Print the summary."""
        trainer.strategy.barrier()  # after other processes added to the table
        if trainer.is_global_zero:
            folder = Path(trainer.default_root_dir)
            report = write_report(folder)
            with (folder / "scores.csv").open(newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
            print("\n".join(summary([row["label"] for row in rows], [row["kind"] for row in rows])))
            print(f"Results: {folder.absolute()} ({', '.join(sorted(path.name for path in folder.iterdir()))})")
            print(f"Report: {report.absolute()}")

    on_test_end = on_predict_end


def _name(trainer: Any, item: DepthItem, batch_idx: int, index: int) -> Path:
    if item.image_path:
        return picture_name(item.image_path, parts_of_names(trainer))
    return Path(f"{batch_idx:03d}_{index:03d}.png")


def _surface(item: DepthItem) -> Any:
    assert item.image is not None and item.depth_map is not None and item.anomaly_map is not None  # noqa: PT018, S101
    if is_unorganised(item.depth_map[None]):
        there = validity_mask(item.depth_map[None])[0, 0].cpu()
        points, scores = (values.detach().cpu()[..., 0, there] for values in (item.depth_map, item.anomaly_map))
        return scored_points(points.T.numpy(), scores.numpy())
    part = foreground_mask(item.depth_map[None])[0]
    image, xyz, anomaly_map = (each.detach().cpu().numpy() for each in (item.image, item.depth_map, item.anomaly_map))
    return surface_of(image, xyz, anomaly_map, part.cpu().numpy())


def write_mask(item: DepthItem, file: Path) -> None:
    """Write the predicted mask of a sample, in the size of its image if that is a file, else in that of the map."""
    assert item.pred_mask is not None  # noqa: S101
    mask = 255 * item.pred_mask.to(torch.uint8)[None].cpu()
    if item.image_path and Path(item.image_path).is_file():
        mask = functional.interpolate(mask[None], image_size(item.image_path))[0]
    file.parent.mkdir(parents=True, exist_ok=True)
    write_png(mask, str(file))
