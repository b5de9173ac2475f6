# SPDX-License-Identifier: Apache-2.0
"""Metrics on scores that know no bounds."""

from types import SimpleNamespace
from typing import Any

from anomalib.metrics import Evaluator
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor


class UnboundedScoreEvaluator(Evaluator):
    """Test metrics on raw scores, brought into (0, 1) in their order.

    torchmetrics takes a batch with a score outside [0, 1] for logits, that batch alone, and in float32 their sigmoid is
    1 from 17 on: all distances between FPFH would be alike (read in torchmetrics 1.9). The post-processor's range would
    do no better, as it cuts off what lies beyond the validation's. So this evaluator stands before the post-processor;
    metrics that need its labels (F1) want anomalib's.
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
        """Update the metrics; the batch stays as it is."""
        asked = {field for metric in self.test_metrics for field in metric.fields}  # type: ignore[union-attr]
        # not an anomalib batch, which would make float32 of it
        judged = SimpleNamespace(**{field: _bounded_if_score(field, getattr(batch, field)) for field in asked})
        super().on_test_batch_end(trainer, pl_module, outputs, judged, batch_idx, dataloader_idx)


def bounded(scores: Tensor) -> Tensor:
    """Bring scores into (0, 1) in their order.

    Args:
        scores: any shape, any range, float32.

    Returns:
        The same shape, float64, which keeps apart what float32 does.

    >>> import torch
    >>> bounded(torch.tensor([-1.0, 0.0, 3.0])).tolist()
    [0.25, 0.5, 0.875]
    """
    scores = scores.double()
    return 0.5 + 0.5 * scores / (1 + scores.abs())


def _bounded_if_score(field: str, value: Tensor) -> Tensor:
    return bounded(value) if field in {"pred_score", "anomaly_map"} else value
