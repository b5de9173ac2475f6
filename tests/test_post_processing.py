# SPDX-License-Identifier: Apache-2.0
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from anomalib.data import ImageBatch, InferenceBatch
from torch import Tensor

from anomalib_clip3dad.post_processing import VerdictPostProcessor, agreeing_mask, balanced_threshold


def slow_balance(scores: Tensor, anomalous: Tensor, threshold: float) -> float:
    found = [score > threshold for score in scores.tolist()]
    recall = sum(f for f, a in zip(found, anomalous.tolist(), strict=True) if a) / anomalous.sum().item()
    below = sum(not f for f, a in zip(found, anomalous.tolist(), strict=True) if not a) / (~anomalous).sum().item()
    return recall + below


@pytest.mark.parametrize("seed", range(5))
def test_no_threshold_balances_better(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    anomalous = torch.arange(20) < 14
    scores = torch.rand(20, generator=generator) + 0.5 * anomalous
    found = slow_balance(scores, anomalous, balanced_threshold(scores, anomalous).item())
    values = [-1.0, *scores.tolist()]
    assert found == pytest.approx(max(slow_balance(scores, anomalous, value + 1e-6) for value in values))


def test_numbers_of_each_kind_do_not_matter() -> None:
    """The best F1 would call all of these anomalous."""
    scores, anomalous = torch.tensor([0.5, 0.1, 0.4, 0.6]), torch.tensor([False, True, True, True])
    once = balanced_threshold(scores, anomalous)
    scores, anomalous = torch.cat([scores, scores[1:].repeat(9)]), torch.cat([anomalous, anomalous[1:].repeat(9)])
    assert once.item() == pytest.approx(0.55)
    assert balanced_threshold(scores, anomalous) == once


def test_normal_samples_alone_give_the_highest_of_them() -> None:
    assert balanced_threshold(torch.tensor([0.25, 0.5, 0.125]), torch.zeros(3, dtype=torch.bool)).item() == 0.5


def batch(scores: list[float], labels: list[int], maps: Tensor | None = None) -> ImageBatch:
    maps = torch.rand(len(scores), 4, 4) if maps is None else maps
    masks = torch.zeros(len(scores), 4, 4, dtype=torch.bool)
    masks[:, 0, 0] = torch.tensor(labels).bool()
    return ImageBatch(
        image=torch.rand(len(scores), 3, 4, 4),
        pred_score=torch.tensor(scores),
        gt_label=torch.tensor(labels),
        anomaly_map=maps,
        gt_mask=masks,
    )


def fitted(known: tuple[Tensor, Tensor] | None = None) -> VerdictPostProcessor:
    post, model, trainer = VerdictPostProcessor(), SimpleNamespace(known_scores=known), SimpleNamespace()
    post.on_validation_batch_end(trainer, model, batch([0.2, 0.9], [0, 1]))  # type: ignore[arg-type]
    post.on_validation_epoch_end(trainer, model)  # type: ignore[arg-type]
    return post


def test_what_the_model_judged_of_its_shots_joins_the_threshold() -> None:
    alone = fitted()
    assert alone.image_threshold.item() == pytest.approx(0.55)
    assert (alone.num_normal, alone.num_anomalous) == (1, 1)
    joined = fitted((torch.tensor([0.1, 0.3, 0.4]), torch.tensor([False, True, True])))
    assert joined.image_threshold.item() == pytest.approx(0.25)
    assert (joined.num_normal, joined.num_anomalous) == (2, 3)
    again = VerdictPostProcessor()
    again.load_checkpoint_config(joined.checkpoint_config())
    assert (again.num_normal, again.num_anomalous) == (2, 3)


def test_masks_agree_with_labels_in_batches_and_in_the_graph() -> None:
    """Anomalous below the pixel threshold everywhere, anomalous above it, normal above it."""
    maps = torch.zeros(3, 4, 4)
    maps[0, 1, 1], maps[0, 1, 2], maps[1, 2, :2], maps[2, 3, 3] = 0.02, 0.01, 0.9, 0.9
    post: Any = fitted()
    post._pixel_threshold.fill_(0.5)
    expected = torch.zeros(3, 4, 4, dtype=torch.bool)
    expected[0, 1, 1], expected[1, 2, :2] = True, True
    asked = batch([0.9, 0.9, 0.1], [1, 1, 0], maps)
    post.post_process_batch(asked)
    assert torch.equal(asked.pred_mask, expected)
    found = post(InferenceBatch(pred_score=torch.tensor([0.9, 0.9, 0.1]), anomaly_map=maps))
    assert torch.equal(found.pred_mask, expected)


def test_a_map_without_a_peak_is_a_peak_everywhere() -> None:
    flat = torch.full((1, 2, 2), 0.25)
    assert agreeing_mask(torch.tensor([True]), flat > 1, flat).all()
