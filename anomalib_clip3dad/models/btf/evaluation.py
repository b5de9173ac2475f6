# SPDX-License-Identifier: Apache-2.0
"""Metrics on scores that know no upper bound."""

from typing import Any

from anomalib.metrics import Evaluator
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor


class UnboundedScoreEvaluator(Evaluator):
    """Test metrics on raw distances, brought into [0, 1) in their order.

    torchmetrics takes what exceeds 1 for logits, batch by batch, and in float32 their sigmoid is 1 from 17 on: all
    distances between FPFH would be alike (read in torchmetrics 1.9). The post-processor's range would do no better, as
    it cuts off what lies beyond the validation's. So this evaluator stands before the post-processor; metrics that need
    its labels (F1) want anomalib's.
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
        changes = {"pred_score": bounded(batch.pred_score), "anomaly_map": bounded(batch.anomaly_map)}
        batch = batch.update(in_place=False, **changes)
        super().on_test_batch_end(trainer, pl_module, outputs, batch, batch_idx, dataloader_idx)


def bounded(distances: Tensor) -> Tensor:
    """Bring distances from 0 on into [0, 1) and keep their order.

    >>> import torch
    >>> bounded(torch.tensor([0.0, 1.0, 3.0])).tolist()
    [0.0, 0.5, 0.75]
    """
    return distances / (1 + distances)
