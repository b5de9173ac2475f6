# SPDX-License-Identifier: Apache-2.0
"""From raw scores and maps to verdicts: thresholds that few samples allow, and masks that agree with labels."""

import logging
from typing import Any

import torch
from anomalib.data import Batch, InferenceBatch
from anomalib.metrics import AnomalibMetric
from anomalib.post_processing import PostProcessor
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

logger = logging.getLogger(__name__)

FEW = 20
"""Of fewer normal samples, the threshold is said to rest on few."""

_NEAR_PEAK = 0.75  # share of the way from a map's mean to its peak: what is above belongs to the peak


class _BalancedThreshold(Metric):
    """The threshold with the best mean of two shares: anomalous samples above it, normal samples below.

    Unlike F1's, it does not depend on how many there are of each. It lies half-way between the two neighbouring scores,
    and of several as good ones it is the highest; without anomalous samples it is the highest normal score.
    """

    full_state_update = False
    scores: list[Tensor]
    labels: list[Tensor]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("scores", default=[], dist_reduce_fx="cat")
        self.add_state("labels", default=[], dist_reduce_fx="cat")

    def update(self, scores: Tensor, labels: Tensor) -> None:
        """Add samples: scores and labels (B,)."""
        self.scores.append(scores.detach().float().flatten())
        self.labels.append(labels.detach().bool().flatten())

    def compute(self) -> Tensor:
        """Find the threshold, a scalar; samples above it count as anomalous."""
        return balanced_threshold(dim_zero_cat(self.scores), dim_zero_cat(self.labels))


class BalancedThreshold(AnomalibMetric, _BalancedThreshold):  # type: ignore[misc]
    """`_BalancedThreshold` on the fields of a batch."""


def balanced_threshold(scores: Tensor, anomalous: Tensor) -> Tensor:
    """Find the threshold with the best mean of recall and share of normal samples below.

    Args:
        scores: (N,), larger = more anomalous.
        anomalous: (N,) bool.

    Returns:
        Scalar, half-way between two neighbouring scores; the highest score if no sample is anomalous.

    Example:
        >>> scores = torch.tensor([0.1, 0.3, 0.4, 0.2, 0.7, 0.8])
        >>> balanced_threshold(scores, torch.tensor([False, False, False, True, True, True])).item()
        0.550000011920929
    """
    values = scores.unique()
    if not anomalous.any() or len(values) == 1:
        return values[-1]
    between = (values[1:] + values[:-1]) / 2
    above = scores[:, None] > between
    recall = above[anomalous].float().mean(dim=0)
    below = 1 - above[~anomalous].float().mean(dim=0) if (~anomalous).any() else torch.zeros_like(recall)
    balance = recall + below
    return between[(balance == balance.max()).nonzero()[-1, 0]]


class VerdictPostProcessor(PostProcessor):
    """anomalib's post-processor, except for how the image threshold is found and that masks agree with labels.

    - The image threshold is a `BalancedThreshold` of the validation samples and of those that the model judged while it
      was fitted (`known_scores` of the model). How many they were is logged and kept in checkpoints.
    - A normal sample has an empty mask; an anomalous one whose map stays below the pixel threshold everywhere has the
      surroundings of the map's peak as its mask.

    Attributes:
        num_normal: Normal samples that the image threshold rests on; 0 before validation.
        num_anomalous: Likewise, anomalous samples.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._image_threshold_metric: Any = BalancedThreshold(fields=["pred_score", "gt_label"], strict=False)
        self.num_normal = 0
        self.num_anomalous = 0

    @property
    def _checkpoint_config_keys(self) -> tuple[str, ...]:
        return (*super()._checkpoint_config_keys, "num_normal", "num_anomalous")

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Set the thresholds, and say what the one of the images rests on."""
        metric: Any = self._image_threshold_metric
        known = getattr(pl_module, "known_scores", None)
        if self.enable_thresholding and metric.update_called:
            if known is not None:
                metric.scores.append(known[0].to(metric.scores[0]))
                metric.labels.append(known[1].to(metric.labels[0].device))
            labels = dim_zero_cat(metric.labels)
            self.num_anomalous = int(labels.sum())
            self.num_normal = len(labels) - self.num_anomalous
        super().on_validation_epoch_end(trainer, pl_module)

    def forward(self, predictions: InferenceBatch) -> InferenceBatch:
        """As anomalib's, masks in agreement with labels."""
        found = super().forward(predictions)
        label, mask, raw = found.pred_label, found.pred_mask, predictions.anomaly_map
        if label is None or mask is None or raw is None:
            return found
        return found._replace(pred_mask=agreeing_mask(label, mask, raw))

    def post_process_batch(self, batch: Batch) -> None:
        """As anomalib's, masks in agreement with labels."""
        raw = batch.anomaly_map
        super().post_process_batch(batch)
        known = self.enable_thresholding and not self.image_threshold.isnan()
        label, mask = batch.pred_label, batch.pred_mask
        if known and label is not None and mask is not None and raw is not None:
            batch.pred_mask = agreeing_mask(label, mask, raw)


def agreeing_mask(label: Tensor, mask: Tensor, anomaly_map: Tensor) -> Tensor:
    """Make masks agree with labels.

    Args:
        label: (B,), true = anomalous.
        mask: (B, H, W), where the map is above the pixel threshold.
        anomaly_map: (B, H, W), raw.

    Returns:
        (B, H, W) bool: nothing for normal samples; for anomalous ones the mask, or what is near the peak of the map if
        the mask is empty.

    Example:
        >>> anomaly_map = torch.tensor([[[0.0, 0.1, 0.2, 0.3]]])
        >>> agreeing_mask(torch.tensor([True]), anomaly_map > 0.5, anomaly_map)
        tensor([[[False, False, False,  True]]])
    """
    peak = anomaly_map.amax(dim=(-2, -1), keepdim=True)
    mean = anomaly_map.mean(dim=(-2, -1), keepdim=True)
    near = anomaly_map >= mean + _NEAR_PEAK * (peak - mean)
    mask = mask.bool()
    empty = ~mask.flatten(1).any(dim=1)[:, None, None]
    return label.bool()[:, None, None] & (mask | (near & empty))
