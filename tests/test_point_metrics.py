# SPDX-License-Identifier: Apache-2.0
"""Against scikit-learn, and against loops over thresholds and regions."""

import logging
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import label
from sklearn.metrics import average_precision_score, roc_auc_score

from anomalib_clip3dad.geometry import foreground_mask
from anomalib_clip3dad.metrics import UnboundedScoreEvaluator
from anomalib_clip3dad.point_metrics import part_of, say_left_out, zero_shot_metrics
from tests.conftest import bumpy_part

NOBODY: Any = None


def organised(count: int = 6) -> SimpleNamespace:
    """Parts on a plane, every other one with two defects, of which one reaches over the edge of the part."""
    generator = torch.Generator().manual_seed(0)
    xyz = torch.stack([bumpy_part(seed=seed)[1] for seed in range(count)])
    masks = torch.zeros(count, 48, 48, dtype=torch.bool)
    masks[::2, 20:26, 22:30] = True
    masks[::2, 30:34, 5:20] = True
    maps = torch.rand(count, 48, 48, generator=generator) + 0.25 * masks
    maps[:, :8] = 0  # background that is easily right
    scores = maps.amax((1, 2)) + 0.3 * torch.rand(count, generator=generator)
    return SimpleNamespace(
        anomaly_map=maps,
        gt_mask=masks,
        depth_map=xyz,
        pred_score=scores,
        gt_label=masks.any(2).any(1),
        image_path=[f"{number}.png" for number in range(count)],
    )


def unorganised() -> SimpleNamespace:
    generator = torch.Generator().manual_seed(0)
    xyz = torch.randn(4, 3, 1, 200, generator=generator)
    xyz[1, :, :, 150:] = 0
    masks = torch.rand(4, 1, 200, generator=generator) < 0.1
    masks[0] = False
    masks[1, :, 150:] = False
    maps = torch.rand(4, 1, 200, generator=generator) + 0.4 * masks
    return SimpleNamespace(
        anomaly_map=maps * (xyz != 0).any(1),
        gt_mask=masks,
        depth_map=xyz,
        pred_score=maps.amax((1, 2)),
        gt_label=masks.any(2).any(1),
        image_path=list("abcd"),
    )


def rows(batch: SimpleNamespace, part: slice) -> SimpleNamespace:
    return SimpleNamespace(**{name: value[part] for name, value in vars(batch).items()})


def measured(batch: SimpleNamespace) -> dict[str, float]:
    """Two batches, as the evaluator gives them to the metrics."""
    evaluator = UnboundedScoreEvaluator(test_metrics=zero_shot_metrics())
    for part in (slice(0, 3), slice(3, None)):
        evaluator.on_test_batch_end(NOBODY, NOBODY, NOBODY, rows(batch, part), 0)
    found = {metric.name: metric.compute() for metric in evaluator.test_metrics}
    return {name: float(value) for name, value in found.items() if value is not None}


def slow_pro(batch: SimpleNamespace, counted: np.ndarray, limit: float = 0.3) -> float:
    """Overlap of each region, averaged, over the false alarms among the cells that count, up to the limit."""
    maps, masks = batch.anomaly_map.numpy(), batch.gt_mask.numpy()
    regions = []
    for sample, mask in enumerate(masks):
        marked, number = label(mask, np.ones((3, 3)))
        regions += [(sample, (marked == each) & counted[sample]) for each in range(1, number + 1)]
    regions = [(sample, region) for sample, region in regions if region.any()]
    normal = counted & ~masks
    curve = [(0.0, 0.0)]
    for threshold in np.unique(maps[counted])[::-1]:
        above = maps >= threshold
        overlap = np.mean([above[sample][region].mean() for sample, region in regions])
        curve.append((float(above[normal].mean()), float(overlap)))
    fpr, pro = np.array(curve).T
    below = fpr < limit
    area = np.trapezoid(np.append(pro[below], np.interp(limit, fpr, pro)), np.append(fpr[below], limit))
    return float(area / limit)


@pytest.mark.parametrize("scale", [1.0, 1e3])
def test_metrics_of_maps_are_those_of_the_references(scale: float) -> None:
    batch = organised()
    part = foreground_mask(batch.depth_map).numpy()
    maps, masks = batch.anomaly_map.numpy(), batch.gt_mask.numpy()
    batch.anomaly_map = scale * batch.anomaly_map
    assert (masks & part).any()
    assert (masks & ~part).any()
    everywhere = np.ones_like(part)
    labels, scores = batch.gt_label.numpy(), batch.pred_score.numpy()
    expected = {
        "image_AUROC": roc_auc_score(labels, scores),
        "image_AUPR": average_precision_score(labels, scores),
        "pixel_AUROC": roc_auc_score(masks.ravel(), maps.ravel()),
        "pixel_PartAUROC": roc_auc_score(masks[part], maps[part]),
        "pixel_AUPRO": slow_pro(organised(), everywhere),
        "pixel_PartAUPRO": slow_pro(organised(), part),
    }
    assert measured(batch) == pytest.approx(expected, abs=2e-5)
    # leaving the background out is what makes the difference
    assert expected["pixel_AUROC"] > expected["pixel_PartAUROC"] + 0.01
    assert abs(expected["pixel_AUPRO"] - expected["pixel_PartAUPRO"]) > 0.01


def test_unorganised_points_have_no_regions_and_padding_does_not_count(caplog: pytest.LogCaptureFixture) -> None:
    batch = unorganised()
    say_left_out.cache_clear()
    with caplog.at_level(logging.WARNING):
        found = measured(batch)
    assert caplog.text.count("pixel_AUPRO is left out: regions need rows and columns") == 1
    assert set(found) == {"image_AUROC", "image_AUPR", "pixel_AUROC", "pixel_PartAUROC"}
    there = (batch.depth_map != 0).any(1).numpy()
    truth, maps = batch.gt_mask.numpy(), batch.anomaly_map.numpy()
    assert found["pixel_PartAUROC"] == pytest.approx(roc_auc_score(truth[there], maps[there]), abs=1e-6)
    assert found["pixel_AUROC"] == pytest.approx(roc_auc_score(truth.ravel(), maps.ravel()), abs=1e-6)
    assert found["pixel_AUROC"] != pytest.approx(found["pixel_PartAUROC"], abs=1e-4)


def test_without_masks_there_are_metrics_of_objects_alone() -> None:
    batch = organised()
    evaluator = UnboundedScoreEvaluator(test_metrics=zero_shot_metrics())
    batch.gt_mask = None
    evaluator.on_test_batch_end(NOBODY, NOBODY, NOBODY, batch, 0)
    assert [metric.name for metric in evaluator.test_metrics if metric.compute() is not None] == [
        "image_AUROC",
        "image_AUPR",
    ]


def test_maps_of_another_size_than_the_cloud_find_the_part() -> None:
    batch = organised(2)
    part = part_of(batch.depth_map, (24, 24))
    assert part.shape == (2, 24, 24)
    assert (part != foreground_mask(batch.depth_map)[:, ::2, ::2]).float().mean() < 0.05
