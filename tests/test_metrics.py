# SPDX-License-Identifier: Apache-2.0
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from anomalib.data import DepthBatch
from anomalib.metrics import AUPRO, AUROC

from anomalib_clip3dad.errors import InputError
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


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_pixels_are_judged_alike_whatever_the_scale(scale: float) -> None:
    nobody: Any = None
    pixels = ["anomaly_map", "gt_mask"]
    metrics = [AUROC(fields=pixels, prefix="pixel_"), AUPRO(fields=pixels, prefix="pixel_")]
    evaluator = UnboundedScoreEvaluator(test_metrics=metrics)
    generator = torch.Generator().manual_seed(0)
    maps, masks = torch.rand(2, 32, 32, generator=generator), torch.zeros(2, 32, 32, dtype=torch.bool)
    masks[0, 4:20, 4:20] = True
    maps[masks] += 0.3
    batch = SimpleNamespace(image_path=["a", "b"], anomaly_map=scale * maps, gt_mask=masks)
    evaluator.on_test_batch_end(nobody, nobody, nobody, batch, 0)
    flawless, faulty = maps[~masks], maps[masks]
    in_order = (faulty[:, None] > flawless).double().mean().item()
    assert evaluator.test_metrics[0].compute().item() == pytest.approx(in_order, abs=1e-6)
    expected = AUPRO(fields=pixels)
    expected.update(SimpleNamespace(anomaly_map=maps, gt_mask=masks))
    assert evaluator.test_metrics[1].compute().item() == pytest.approx(expected.compute().item(), abs=1e-6)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_what_is_no_number_is_refused(value: float) -> None:
    nobody: Any = None
    evaluator = UnboundedScoreEvaluator(test_metrics=[AUROC(fields=["pred_score", "gt_label"], prefix="image_")])
    batch = SimpleNamespace(
        image_path=["a.png", "b.png"], pred_score=torch.tensor([0.1, value]), gt_label=torch.tensor([False, True])
    )
    with pytest.raises(InputError, match=r"pred_score of b\.png is not a finite number"):
        evaluator.on_test_batch_end(nobody, nobody, nobody, batch, 0)


def test_bounded_keeps_the_order_of_all_float32() -> None:
    scores = torch.tensor([0.0, 1e-6, 17.0, 18.0, 300.0, 300.00003, 1e6])
    assert (bounded(scores).diff() > 0).all()
    assert bounded(scores).max() < 1
    assert bounded(-scores).min() > 0
