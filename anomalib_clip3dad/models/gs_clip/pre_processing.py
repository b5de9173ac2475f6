# SPDX-License-Identifier: Apache-2.0
"""Pre-processing of samples whose points have no rows and columns."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from anomalib.pre_processing import PreProcessor

from anomalib_clip3dad.geometry.organised import is_unorganised


class PointPreProcessor(PreProcessor):
    """Transforms images and their masks, but leaves the masks of unorganised points as they are.

    anomalib's would resize those, (B, 1, N), to the size of an image (seen in anomalib 2.7.0).

    Args:
        transform: Transform of torchvision v2, or None.
    """

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, *position: int) -> None:
        """Transform a batch to train on."""
        with _point_masks_kept(batch):
            super().on_train_batch_start(trainer, pl_module, batch, *position)

    def on_validation_batch_start(self, trainer: Any, pl_module: Any, batch: Any, *position: int) -> None:
        """Transform a batch to validate on."""
        with _point_masks_kept(batch):
            super().on_validation_batch_start(trainer, pl_module, batch, position[0])

    def on_test_batch_start(self, trainer: Any, pl_module: Any, batch: Any, *position: int) -> None:
        """Transform a batch to test on."""
        with _point_masks_kept(batch):
            super().on_test_batch_start(trainer, pl_module, batch, *position)

    def on_predict_batch_start(self, trainer: Any, pl_module: Any, batch: Any, *position: int) -> None:
        """Transform a batch to predict, whose masks may be known."""
        with _point_masks_kept(batch):
            super().on_predict_batch_start(trainer, pl_module, batch, *position)


@contextmanager
def _point_masks_kept(batch: Any) -> Iterator[None]:
    mask = batch.gt_mask
    yield
    cloud = getattr(batch, "depth_map", None)
    if cloud is not None and is_unorganised(cloud):
        batch.gt_mask = mask
