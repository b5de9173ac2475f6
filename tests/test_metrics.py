# SPDX-License-Identifier: Apache-2.0
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from anomalib.data import DepthBatch
from anomalib.metrics import AUPRO, AUROC
from pandas import DataFrame

from anomalib_clip3dad.errors import InputError
from anomalib_clip3dad.metrics import CategoryEvaluator, UnboundedScoreEvaluator, bounded


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


def of_categories(names: list[str]) -> SimpleNamespace:
    samples = DataFrame({"image_path": [f"{place}.png" for place in range(len(names))], "category": names})
    return SimpleNamespace(datamodule=SimpleNamespace(test_data=SimpleNamespace(samples=samples)))


def logged(evaluator: CategoryEvaluator, trainer: Any, batches: list[SimpleNamespace]) -> dict[str, float]:
    found: dict[str, float] = {}
    evaluator.log = lambda name, value: found.update({name: float(value)})  # type: ignore[attr-defined]
    nobody: Any = None
    evaluator.on_test_epoch_start(trainer, nobody)
    for batch in batches:
        evaluator.on_test_batch_end(trainer, nobody, nobody, batch, 0)
    evaluator.on_test_epoch_end(trainer, nobody)
    return found


def test_each_category_is_judged_by_itself() -> None:
    """Scores of the second category are far above those of the first, which a common ranking would punish."""
    evaluator = CategoryEvaluator(test_metrics=[AUROC(fields=["pred_score", "gt_label"], prefix="image_")])
    trainer = of_categories(["a", "a", "a", "a", "b", "b", "b", "b"])
    scores = torch.tensor([0.1, 0.2, 0.3, 0.4, 50.0, 60.0, 70.0, 80.0])
    truth = torch.tensor([False, True, False, True, False, False, True, True])
    paths = [f"{place}.png" for place in range(8)]
    batches = [
        SimpleNamespace(image_path=paths[part], pred_score=scores[part], gt_label=truth[part])
        for part in (slice(0, 3), slice(3, 6), slice(6, 8))
    ]
    expected = {"image_AUROC/a": 0.75, "image_AUROC/b": 1.0, "image_AUROC": 0.875}
    assert logged(evaluator, trainer, batches) == pytest.approx(expected)
    # a second test knows nothing of the first
    assert logged(evaluator, trainer, batches[2:] + batches[1:2]) == pytest.approx(
        {"image_AUROC/a": 0.0, "image_AUROC/b": 1.0, "image_AUROC": 0.5}
    )


def test_without_categories_all_samples_are_of_one() -> None:
    batch = SimpleNamespace(
        image_path=["0.png", "1.png"], pred_score=torch.tensor([3.0, 40.0]), gt_label=torch.tensor([False, True])
    )
    for trainer in (
        SimpleNamespace(datamodule=None, barebones=False),
        SimpleNamespace(
            barebones=False,
            datamodule=SimpleNamespace(
                test_data=SimpleNamespace(samples=DataFrame({"image_path": ["0.png", "1.png"]}))
            ),
        ),
    ):
        evaluator = CategoryEvaluator(test_metrics=[AUROC(fields=["pred_score", "gt_label"], prefix="image_")])
        found: dict[str, Any] = {}
        evaluator.log = lambda name, value, found=found: found.update({name: value.compute()})
        nobody: Any = None
        evaluator.on_test_batch_end(trainer, nobody, nobody, batch, 0)
        evaluator.on_test_epoch_end(trainer, nobody)
        assert {name: float(value) for name, value in found.items()} == {"image_AUROC": 1.0}
