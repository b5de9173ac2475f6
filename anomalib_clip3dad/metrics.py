# SPDX-License-Identifier: Apache-2.0
"""The metrics of the paper, also for scores outside [0, 1]."""

from collections.abc import Iterable, Sequence
from copy import deepcopy
from types import SimpleNamespace
from typing import Any

import torch
from anomalib.metrics import AUPR, AUPRO, AUROC, AnomalibMetric, Evaluator
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from anomalib_clip3dad.errors import InputError

_SCORES = {"pred_score", "anomaly_map"}


def paper_metrics() -> list[AnomalibMetric]:
    """Create the four metrics of CLIP3D-AD, section 4.1.2.

    Image AUROC and AUPR; if there are masks, pixel AUROC and AUPRO, the latter up to a false-positive rate of 0.3.
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

    If a batch has a score outside [0, 1], torchmetrics treats this batch as logits, and in float32 their sigmoid is 1
    from 17 on, so that all distances between FPFH would be equal (seen in torchmetrics 1.9). Normalised scores would be
    no better, since the post-processor clips them to the range of the validation set. So this evaluator comes before
    the post-processor and maps scores to (0, 1) monotonically, for all metrics except AUPRO, which only sorts them.
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
        """Update the metrics without changing the batch.

        Raises:
            ValueError: If a score is NaN or infinite.
        """
        del trainer, pl_module, outputs, batch_idx, dataloader_idx
        _update(self.test_metrics, batch)


class CategoryEvaluator(UnboundedScoreEvaluator):
    """Test metrics of each category by itself, and their mean, as papers of zero-shot detection report them.

    If the table of the data module's test samples has a column `category` (`AuxiliaryDataModule`), NAME/CATEGORY is
    logged for each metric and category, and their mean as NAME. Otherwise all samples are of one category.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._by_category: dict[str, list[Any]] = {}

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the categories of an earlier test."""
        del trainer, pl_module
        self._by_category = {}

    def on_test_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, *indices: int) -> None:
        """Update the metrics of the categories of a batch without changing it."""
        samples = getattr(getattr(trainer.datamodule, "test_data", None), "samples", None)
        categories = getattr(samples, "category", None)
        if categories is None:
            super().on_test_batch_end(trainer, pl_module, outputs, batch, *indices)
            return
        known = dict(zip(samples.image_path, categories, strict=True))  # type: ignore[union-attr]
        of_batch = [known[path] for path in batch.image_path]
        for category in dict.fromkeys(of_batch):
            metrics = self._by_category.setdefault(category, [deepcopy(metric) for metric in self.test_metrics])
            _update(metrics, batch, [place for place, name in enumerate(of_batch) if name == category])

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compute and log the metrics; what a category has not (regions of points) is left out of the mean."""
        if not self._by_category:
            super().on_test_epoch_end(trainer, pl_module)
            return
        for place, metric in enumerate(self.test_metrics):
            values = {category: metrics[place].compute() for category, metrics in self._by_category.items()}
            values = {category: value for category, value in values.items() if value is not None}
            for category, value in values.items():
                self.log(f"{metric.name}/{category}", value.float())  # type: ignore[operator]
            if values:
                mean = torch.stack([*values.values()]).float().mean()
                self.log(str(metric.name), mean)  # type: ignore[operator]


def _update(metrics: Iterable[Any], batch: Any, rows: Sequence[int] | None = None) -> None:
    """Update metrics with all samples of a batch, or with some."""
    for metric in metrics:
        values = {field: getattr(batch, field) for field in metric.fields}
        for field in _SCORES & set(values):
            _check_finite(field, values[field], batch.image_path)
            if not isinstance(metric, AUPRO):  # which converts to float32
                values[field] = bounded(values[field])
        if rows is not None:
            values = {field: value if value is None else value[rows] for field, value in values.items()}
        # not an anomalib batch, which also converts to float32
        metric.update(SimpleNamespace(**values))


def bounded(scores: Tensor) -> Tensor:
    """Map scores to (0, 1), keeping their order.

    Args:
        scores: Scores of any shape and range, float32.

    Returns:
        The same shape, float64, so that different float32 values stay different.

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
