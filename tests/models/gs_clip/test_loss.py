# SPDX-License-Identifier: Apache-2.0
"""Losses against loops."""

import math

import pytest
import torch

from anomalib_clip3dad.errors import InputError
from anomalib_clip3dad.models.gs_clip.loss import (
    check_losses,
    cloud_loss,
    consistency_loss,
    dice_loss,
    focal_loss,
    view_loss,
)


def test_views_and_clouds_against_loops() -> None:
    """Section 13, check 5: the mean over views is over a sample's own views, which the authors mix."""
    logits, views = torch.randn(3, 4, 2), torch.rand(3, 4) < 0.5
    faulty = torch.tensor([True, False, True])

    def entropy(pair: torch.Tensor, right: bool) -> float:
        shares = [math.exp(float(value)) for value in pair]
        return -math.log(shares[int(right)] / sum(shares))

    expected = [entropy(logits[b, v], bool(views[b, v])) for b in range(3) for v in range(4)]
    assert view_loss(logits, views).item() == pytest.approx(sum(expected) / 12, rel=1e-5)
    each = [entropy(sum(logits[b, v] for v in range(4)) / 4, bool(faulty[b])) for b in range(3)]
    assert cloud_loss(logits, faulty).item() == pytest.approx(sum(each) / 3, rel=1e-5)


def test_dice_against_a_loop_and_what_does_not_count() -> None:
    shares, mask, counted = torch.rand(3, 20), torch.rand(3, 20) < 0.3, torch.rand(3, 20) < 0.7

    def slow(counts: torch.Tensor) -> float:
        total = 0.0
        for turned in (False, True):
            each = []
            for b in range(3):
                x = [float(1 - shares[b, i] if turned else shares[b, i]) for i in range(20) if counts[b, i]]
                y = [float(bool(mask[b, i]) != turned) for i in range(20) if counts[b, i]]
                each.append((2 * sum(a * c for a, c in zip(x, y, strict=True)) + 1) / (sum(x) + sum(y) + 1))
            total += 1 - sum(each) / 3
        return total

    assert dice_loss(shares, mask).item() == pytest.approx(slow(torch.ones(3, 20)), rel=1e-5)
    assert dice_loss(shares, mask, counted).item() == pytest.approx(slow(counted), rel=1e-5)
    # points of the background are no missed normal ones: whatever they have changes nothing
    assert dice_loss(shares.where(counted, 0.9), mask, counted) == dice_loss(shares, mask, counted)


def test_a_last_batch_of_one_keeps_its_axis() -> None:
    shares, mask = torch.rand(1, 6, 6), torch.rand(1, 6, 6) < 0.5
    assert dice_loss(shares, mask) == dice_loss(shares.reshape(1, 36), mask.reshape(1, 36))


def test_focal_against_a_loop() -> None:
    shares, mask = torch.rand(30), torch.rand(30) < 0.3
    right = [float(p if m else 1 - p) for p, m in zip(shares, mask, strict=True)]
    expected = sum(-((1 - p) ** 2) * math.log(p) for p in right) / 30
    assert focal_loss(shares, mask).item() == pytest.approx(expected, rel=1e-4)
    assert focal_loss(torch.tensor([0.0]), torch.tensor([True])).isfinite()


def test_consistency_against_a_loop_over_the_features() -> None:
    """The authors take the cosine over the views in place of the features."""
    cls = torch.nn.functional.normalize(torch.randn(2, 5, 7), dim=-1)
    each = []
    for b in range(2):
        mean = sum(cls[b, v] for v in range(5)) / 5
        each.append(1 - sum(float(cls[b, v] @ mean) for v in range(5)) / 5)
    assert consistency_loss(cls).item() == pytest.approx(sum(each) / 2, rel=1e-5)
    same = cls[:, :1].expand(-1, 5, -1)
    assert consistency_loss(same).item() == pytest.approx(0, abs=1e-6)


def test_wrong_losses_are_refused() -> None:
    check_losses(2, ["consistency"])
    for stage, names in ((1, ["consistency"]), (2, ["dice"]), (1, [])):
        with pytest.raises(InputError, match=f"stage{stage}_losses="):
            check_losses(stage, names)
