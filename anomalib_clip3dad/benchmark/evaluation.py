# SPDX-License-Identifier: Apache-2.0
"""Evaluation with the same four metrics for every model: on raw scores, at one size, without masking."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from anomalib.data.utils import read_mask
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from anomalib_clip3dad.benchmark.grid import EvaluationSize
from anomalib_clip3dad.errors import InputError
from anomalib_clip3dad.metrics import CategoryEvaluator, paper_metrics


class RawEvaluator(CategoryEvaluator):
    """`paper_metrics` with all maps and masks resized to one size.

    Every pixel of every test sample counts, including background, missing points and normal samples; nothing is padded.
    The model must have no post-processor, which would clip its scores.

    Args:
        size: Height and width at which pixels are evaluated, or "native" for the size of the mask files.
    """

    def __init__(self, size: EvaluationSize) -> None:
        super().__init__(test_metrics=paper_metrics())
        self.size = size

    def on_test_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, *indices: int) -> None:
        """Update the metrics at the common size."""
        samples = trainer.datamodule.test_data.samples  # batches of anomalib 2.7.0 have no mask_path
        files = dict(zip(samples.image_path, samples.mask_path, strict=True))
        judged = at_one_size(batch, [files.get(path) for path in batch.image_path], self.size)
        super().on_test_batch_end(trainer, pl_module, outputs, judged, *indices)


def at_one_size(batch: Any, mask_files: Sequence[str | None], size: EvaluationSize) -> Any:
    """Resize maps and masks of a batch to one size.

    Args:
        batch: Batch with `anomaly_map` (B, h, w) or (B, 1, h, w), `pred_score` (B,) or (B, 1), `gt_label` (B,) and
            `image_path`.
        mask_files: B paths; those of normal samples are ignored.
        size: Height and width, or "native".

    Returns:
        `image_path`, `gt_label` (B,), `pred_score` (B,), `anomaly_map` (B, H, W) float32, bilinear, and `gt_mask`
        (B, H, W) bool, by nearest neighbour from the files, so that the ground truth does not depend on the model's
        size.

    Raises:
        InputError: If a mask has no file, or the masks of a batch differ in size.
    """
    masks = [mask[None, None].float() for mask in _true_masks(batch, mask_files)]
    if size != "native":
        masks = [interpolate(mask, (size, size), mode="nearest-exact") for mask in masks]
    if len({mask.shape for mask in masks}) > 1:
        msg = f"evaluation_size=native: {batch.image_path[0]} and others of its batch differ in size; give a number"
        raise InputError(msg)
    maps = batch.anomaly_map.float()
    maps = maps[:, None] if maps.ndim == 3 else maps
    if maps.shape[-2:] != masks[0].shape[-2:]:
        maps = interpolate(maps, masks[0].shape[-2:], mode="bilinear")
    return SimpleNamespace(
        image_path=batch.image_path,
        gt_label=batch.gt_label,
        pred_score=batch.pred_score.flatten(),
        anomaly_map=maps[:, 0],
        gt_mask=torch.cat(masks)[:, 0].bool().to(maps.device),
    )


def _true_masks(batch: Any, files: Sequence[str | None]) -> list[Tensor]:
    """Masks (H, W) from their files; for normal samples all false, in the size of the image."""
    masks = []
    for label, image, mask in zip(batch.gt_label, batch.image_path, files, strict=True):
        if not label:
            masks.append(_nothing(image))
        elif mask and Path(mask).is_file():
            masks.append(torch.as_tensor(read_mask(mask, as_tensor=True)).as_subclass(Tensor) > 0)
        else:
            msg = f"{image}: its mask is in no file, so pixels cannot be evaluated; test on anomalous parts with masks "
            msg += "(test_split_mode from_dir)"
            raise InputError(msg)
    return masks


def _nothing(image: str) -> Tensor:
    with Image.open(image) as opened:  # reads only the header
        width, height = opened.size
    return torch.zeros(height, width, dtype=torch.bool)
