# SPDX-License-Identifier: Apache-2.0
"""The metrics of the paper, also for scores that know no bounds."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from anomalib.metrics import AUPR, AUPRO, AUROC, AnomalibMetric, Evaluator
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from anomalib_clip3dad.errors import InputError

_SCORES = {"pred_score", "anomaly_map"}


def paper_metrics() -> list[AnomalibMetric]:
    """Make the four of CLIP3D-AD, section 4.1.2.

    AUROC and AUPR of images; if there are masks, AUROC and AUPRO of pixels, the latter up to a false-positive rate of
    0.3.
    """
    image, pixel = ["pred_score", "gt_label"], ["anomaly_map", "gt_mask"]
    return [
        AUROC(fields=image, prefix="image_"),
        AUPR(fields=image, prefix="image_"),
        AUROC(fields=pixel, prefix="pixel_", strict=False),
        AUPRO(fields=pixel, prefix="pixel_", strict=False, fpr_limit=0.3),
    ]


class UnboundedScoreEvaluator(Evaluator):
    """Test metrics on raw scores, whatever their range.

    torchmetrics takes a batch with a score outside [0, 1] for logits, that batch alone, and in float32 their sigmoid is
    1 from 17 on: all distances between FPFH would be alike (read in torchmetrics 1.9). The post-processor's range would
    do no better, as it cuts off what lies beyond the validation's. So this evaluator stands before the post-processor,
    and gives scores to all metrics but AUPRO, which only sorts them, brought into (0, 1) in their order.
    """

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Update the metrics; the batch stays as it is.

        Raises:
            ValueError: If a score is not a number, or infinite.
        """
        del trainer, pl_module, outputs, batch_idx, dataloader_idx
        for metric in self.test_metrics:
            values = {field: getattr(batch, field) for field in metric.fields}  # type: ignore[union-attr]
            for field in _SCORES & set(values):
                _check_finite(field, values[field], batch.image_path)
                if not isinstance(metric, AUPRO):  # which would make float32 of it
                    values[field] = bounded(values[field])
            # not an anomalib batch, which would make float32 of it, too
            metric.update(SimpleNamespace(**values))  # type: ignore[operator]


def bounded(scores: Tensor) -> Tensor:
    """Bring scores into (0, 1) in their order.

    Args:
        scores: any shape, any range, float32.

    Returns:
        The same shape, float64, which keeps apart what float32 does.

    Example:
        >>> import torch
        >>> bounded(torch.tensor([-1.0, 0.0, 3.0])).tolist()
        [0.25, 0.5, 0.875]
    """
    scores = scores.double()
    return 0.5 + 0.5 * scores / (1 + scores.abs())


def _check_finite(name: str, scores: Tensor, paths: Sequence[str] | None) -> None:
    wrong = ~scores.flatten(1).isfinite().all(dim=1) if scores.ndim > 1 else ~scores.isfinite()
    if wrong.any():
        of = paths[int(wrong.int().argmax())] if paths else "a test sample"
        msg = f"{name} of {of} is not a finite number; the training diverged (lower the learning rates, train in full "
        msg += "precision) or the file is damaged"
        raise InputError(msg)
