# SPDX-License-Identifier: Apache-2.0
from typing import Any

import pytest
import torch
from anomalib.data import DepthBatch
from anomalib.metrics import AUROC

from anomalib_clip3dad.metrics import UnboundedScoreEvaluator, bounded


@pytest.mark.parametrize("second", [(60.0, 61.0), (300.0, 300.00003)])
def test_scores_beyond_the_sigmoid_keep_their_order(second: tuple[float, float]) -> None:
    """Three of the four pairs of flawless and faulty are in order; one batch is below 1, one far above."""
    nobody: Any = None
    evaluator = UnboundedScoreEvaluator(test_metrics=[AUROC(fields=["pred_score", "gt_label"], prefix="image_")])
    for scores in ((0.3, 0.4), second):
        batch = DepthBatch(
            image=torch.zeros(2, 3, 4, 4),
            depth_map=torch.zeros(2, 3, 4, 4),
            gt_label=torch.tensor([False, True]),
            pred_score=torch.tensor(scores),
        )
        evaluator.on_test_batch_end(nobody, nobody, nobody, batch, 0)
        assert batch.pred_score.tolist() == pytest.approx(scores)  # the post-processor needs them as they are
    assert evaluator.test_metrics[0].compute().item() == pytest.approx(0.75)


def test_bounded_keeps_the_order_of_all_float32() -> None:
    scores = torch.tensor([0.0, 1e-6, 17.0, 18.0, 300.0, 300.00003, 1e6])
    assert (bounded(scores).diff() > 0).all()
    assert bounded(scores).max() < 1
    assert bounded(-scores).min() > 0
