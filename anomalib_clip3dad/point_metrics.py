# SPDX-License-Identifier: Apache-2.0
"""Metrics of zero-shot 3D anomaly detection: of objects and of points, with and without the background."""

import logging
from functools import cache
from typing import Any

import anomalib.metrics
import torch
from anomalib.metrics import AUPR, AUROC, AnomalibMetric
from torch import Tensor
from torchmetrics.utilities.data import dim_zero_cat

from anomalib_clip3dad.geometry import foreground_mask, resize_organised

logger = logging.getLogger(__name__)

_FPR_LIMIT = 0.3  # as in PointAD and GS-CLIP
_POINTS = ["anomaly_map", "gt_mask"]


def zero_shot_metrics() -> list[AnomalibMetric]:
    """Create the metrics of PointAD and GS-CLIP, and those of points that leave out the background.

    image_AUROC and image_AUPR are of objects, the papers' O-AUROC and O-AP (anomalib's AUPR is the average precision).
    pixel_AUROC and pixel_AUPRO, their P-AUROC and P-PRO, count every cell of the image, also the background, which is
    nearly always right. pixel_PartAUROC and pixel_PartAUPRO count the part alone.
    """
    of_objects, of_part = ["pred_score", "gt_label"], [*_POINTS, "depth_map"]
    return [
        AUROC(fields=of_objects, prefix="image_"),
        AUPR(fields=of_objects, prefix="image_"),
        AUROC(fields=_POINTS, prefix="pixel_", strict=False),
        AUPRO(fields=_POINTS, prefix="pixel_", strict=False, fpr_limit=_FPR_LIMIT),
        PartAUROC(fields=of_part, prefix="pixel_", strict=False),
        PartAUPRO(fields=of_part, prefix="pixel_", strict=False, fpr_limit=_FPR_LIMIT),
    ]


def part_of(xyz: Tensor, size: tuple[int, int]) -> Tensor:
    """Find the cells of anomaly maps that show the part.

    Args:
        xyz: (B, 3, H, W) organised XYZ in metres, camera frame, (0, 0, 0) = not measured; or (B, 3, 1, N) unorganised
            points in any units, (0, 0, 0) = padding.
        size: Rows and columns of the maps.

    Returns:
        (B, *size) bool: neither background plane nor unmeasured, see `foreground_mask`; of unorganised points all.
    """
    return foreground_mask(resize_organised(xyz, size))


class PartAUROC(AUROC):
    """AUROC of the cells or points on the part; its third field is the cloud."""

    def update(self, batch: Any) -> None:  # type: ignore[override]
        """Add a batch.

        Args:
            batch: With anomaly map (B, H, W), mask (B, H, W) and cloud (B, 3, H, W) under the names of `fields`.
        """
        if _lacks(batch, self.fields):
            super().update(batch)
            return
        scores, truth, part = _of_part(batch, self.fields)
        super(AnomalibMetric, self).update(scores[part], truth[part])


class AUPRO(anomalib.metrics.AUPRO):
    """anomalib's AUPRO of maps; of unorganised points there is none, as they have no regions."""

    def update(self, batch: Any) -> None:  # type: ignore[override]
        """Add a batch, unless its maps (B, 1, N) have a single row."""
        if not _lacks(batch, self.fields) and getattr(batch, self.fields[0]).shape[-2] == 1:
            say_left_out(str(self.name))
            self._update_count -= 1  # as anomalib 2.7.0 does for what is not there
            return
        self._add(batch)

    def _add(self, batch: Any) -> None:
        super().update(batch)


@cache  # not for every batch of every category
def say_left_out(name: str) -> None:
    """Say once that a metric is left out.

    Args:
        name: Name of the metric.
    """
    logger.warning("%s is left out: regions need rows and columns, and these points have none", name)


class PartAUPRO(AUPRO):
    """AUPRO of the cells on the part: the background counts as no false alarm, and regions end where the part ends."""

    part: list[Tensor]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.add_state("part", default=[], dist_reduce_fx="cat")

    def _add(self, batch: Any) -> None:
        if _lacks(batch, self.fields):
            super()._add(batch)
            return
        scores, truth, part = _of_part(batch, self.fields)
        super(AnomalibMetric, self).update(scores, truth)
        self.part.append(part)

    def compute_pro(self, cca: Tensor, preds: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the curve of the cells on the part; arguments (B, H, W) and answer as in anomalib's AUPRO."""
        part = dim_zero_cat(self.part)
        return super().compute_pro(cca=cca.reshape(part.shape)[part], preds=preds[part])


def _lacks(batch: Any, fields: Any) -> bool:
    return any(getattr(batch, field, None) is None for field in fields)


def _of_part(batch: Any, fields: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Scores, truth and part, each (B, H, W)."""
    scores, truth, xyz = (torch.as_tensor(getattr(batch, field)).as_subclass(Tensor) for field in fields)
    scores, truth = (values.reshape(len(values), *values.shape[-2:]) for values in (scores, truth))
    return scores, truth, part_of(xyz, (scores.shape[-2], scores.shape[-1]))
