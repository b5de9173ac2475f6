# SPDX-License-Identifier: Apache-2.0
from typing import Any

import pytest
import torch
from anomalib.data import DepthBatch
from anomalib.metrics import AUROC

from anomalib_clip3dad.models.btf.evaluation import UnboundedScoreEvaluator, bounded


def test_distances_beyond_the_sigmoid_keep_their_order() -> None:
    """Three of the four pairs of flawless and faulty are in order; one batch is below 1, one far above."""
    nobody: Any = None
    evaluator = UnboundedScoreEvaluator(test_metrics=[AUROC(fields=["pred_score", "gt_label"], prefix="image_")])
    for scores, labels in (([0.3, 0.4], [False, True]), ([60.0, 61.0], [False, True])):
        batch = DepthBatch(
            image=torch.zeros(2, 3, 4, 4),
            depth_map=torch.zeros(2, 3, 4, 4),
            gt_label=torch.tensor(labels),
            pred_score=torch.tensor(scores),
            anomaly_map=torch.tensor(scores)[:, None, None].expand(-1, 4, 4).clone(),
        )
        evaluator.on_test_batch_end(nobody, nobody, nobody, batch, 0)
        assert batch.pred_score.tolist() == pytest.approx(scores)  # the post-processor needs them as they are
    assert evaluator.test_metrics[0].compute().item() == pytest.approx(0.75)


def test_bounded_is_strictly_increasing() -> None:
    found = bounded(torch.linspace(0, 300, 10_000))
    assert (found.diff() > 0).all()
    assert found.min() == 0
    assert found.max() < 1
