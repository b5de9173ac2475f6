# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest
import torch
from anomalib.data import ImageBatch
from anomalib.metrics import AUROC

from anomalib_clip3dad.models.clip3d_ad.scoring import anomaly_score, similarity_map


def test_equations_9_and_10() -> None:
    """Patch by patch, at the grid's own size so that nothing is interpolated."""
    features, text = torch.randn(2, 6, 5), torch.randn(2, 5)
    s_map = similarity_map(features, text, grid=(2, 3), size=(2, 3))
    t = text.double().numpy()
    t /= np.linalg.norm(t, axis=1, keepdims=True)
    for b in range(2):
        for p in range(6):
            f = features[b, p].double().numpy()
            m_sim = (f / np.linalg.norm(f)) @ t.T / 0.07
            softmax = np.exp(m_sim[1]) / np.exp(m_sim).sum()
            assert s_map[b, p // 3, p % 3].item() == pytest.approx(softmax, abs=1e-6)


def test_map_is_enlarged_bilinearly() -> None:
    text = torch.eye(2)
    angle = torch.tensor([0.6, 0.7, 0.8, 0.9])
    features = torch.stack([angle.cos(), angle.sin()], -1)[None]
    small = similarity_map(features, text, (2, 2), (2, 2))[0]
    large = similarity_map(features, text, (2, 2), (4, 4))[0]
    # output pixel 1 of 4 lies at input coordinate (1 + 0.5) / 2 - 0.5 = 0.25
    row0, row1 = (0.75 * small[r, 0] + 0.25 * small[r, 1] for r in range(2))
    assert large[1, 1].item() == pytest.approx((0.75 * row0 + 0.25 * row1).item(), abs=1e-6)
    torch.testing.assert_close(large[0, 0], small[0, 0])


def test_equations_16_to_18() -> None:
    image, text, s_map = torch.randn(3, 5), torch.randn(2, 5), torch.rand(3, 4, 6)
    scores = anomaly_score(image, text, s_map)
    for b in range(3):
        s = [float(torch.dot(image[b], t) / image[b].norm() / t.norm()) for t in text]
        total = math.exp(s[0] / 0.07) + math.exp(s[1] / 0.07)
        positive, negative = math.exp(s[0] / 0.07) / total, math.exp(s[1] / 0.07) / total
        expected = negative / (negative + positive) + max(s_map[b].flatten().tolist())
        assert scores[b].item() == pytest.approx(expected / 2, abs=1e-5)


def test_the_worst_score_is_no_logit_to_torchmetrics() -> None:
    """In batches of one, each of which torchmetrics looks at by itself."""
    text = torch.eye(2)
    scores = [anomaly_score(torch.tensor([[1.0, x]]), text, torch.full((1, 2, 2), x)) for x in (0.9, 1.0, 0.2, 0.8)]
    metric = AUROC(fields=["pred_score", "gt_label"])
    for score, label in zip(scores, (True, True, False, False), strict=True):
        metric.update(ImageBatch(image=torch.zeros(1, 3, 2, 2), pred_score=score, gt_label=torch.tensor([label])))
    assert metric.compute() == 1
    assert max(scores) <= 1


def test_half_precision_around_does_not_reach_the_similarities() -> None:
    image, text, features = torch.randn(3, 5), torch.randn(2, 5), torch.randn(3, 6, 5)
    expected = similarity_map(features, text, (2, 3), (4, 6))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        s_map = similarity_map(features, text, (2, 3), (4, 6))
        scores = anomaly_score(image, text, s_map)
    assert scores.dtype == s_map.dtype == torch.float32
    assert torch.equal(s_map, expected)
