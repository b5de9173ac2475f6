# SPDX-License-Identifier: Apache-2.0
"""Prediction results as files: a table of scores, and masks."""

import csv
from pathlib import Path
from typing import Any

import torch
from anomalib.data import DepthBatch
from lightning.pytorch import Callback
from torchvision.utils import save_image

from .panel import picture_name


class ResultFiles(Callback):
    """Writes predictions to `scores.csv` (file, score, label) and one mask per sample to `masks` (white = anomalous).

    Masks have the size of the anomaly map. Results are written after every batch, so that an interrupted prediction
    loses nothing. Without a threshold the labels are empty and there are no masks.
    """

    def on_predict_start(self, trainer: Any, pl_module: Any) -> None:  # noqa: ARG002
        """Start the table."""
        folder = Path(trainer.default_root_dir)
        if trainer.is_global_zero:
            folder.mkdir(parents=True, exist_ok=True)
            with (folder / "scores.csv").open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerow(["file", "score", "label"])
        trainer.strategy.barrier()  # before other processes add to it

    def on_predict_batch_end(
        self,
        trainer: Any,
        pl_module: Any,
        outputs: Any,  # noqa: ARG002
        batch: DepthBatch,
        batch_idx: int,
        *_: int,
    ) -> None:
        """Add the samples of a batch."""
        folder = Path(trainer.default_root_dir)
        with (folder / "scores.csv").open("a", newline="", encoding="utf-8") as file:
            for index, item in enumerate(batch):
                assert item.pred_score is not None  # noqa: S101
                label = ("faulty" if item.pred_label else "good") if pl_module.has_threshold else ""
                csv.writer(file).writerow([item.image_path, f"{item.pred_score.item():.6f}", label])
                if label and item.pred_mask is not None:
                    name = picture_name(item.image_path) if item.image_path else f"{batch_idx:03d}_{index:03d}.png"
                    mask = folder / "masks" / Path(name).with_suffix(".png")
                    mask.parent.mkdir(parents=True, exist_ok=True)
                    save_image(item.pred_mask.to(torch.float32)[None], mask)
