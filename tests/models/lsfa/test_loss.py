# SPDX-License-Identifier: Apache-2.0
"""Against the formulas, written as loops."""

import math

import pytest
import torch
from torch import Tensor

from anomalib_clip3dad.models.lsfa.loss import compactness, info_nce, relative_variance


def slow_info_nce(one: Tensor, other: Tensor, temperature: float) -> float:
    def cosine(a: Tensor, b: Tensor) -> float:
        return float(a @ b / (a.norm() * b.norm()))

    total = 0.0
    for row in range(len(one)):
        for here, there in ((one, other), (other, one)):
            likeness = [math.exp(cosine(here[row], there[column]) / temperature) for column in range(len(one))]
            total -= math.log(likeness[row] / sum(likeness))
    return total / (2 * len(one))


def slow_compactness(features: Tensor, ids: list[int], bank: Tensor, bank_ids: list[int]) -> float:
    nearest = []
    for feature, own in zip(features, ids, strict=True):
        others = [float((feature - each).norm()) for each, of in zip(bank, bank_ids, strict=True) if of != own]
        nearest += [min(others)] if others else []
    return sum(nearest) / len(nearest) if nearest else 0.0


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_info_nce(temperature: float) -> None:
    one, other = torch.randn(7, 5), torch.randn(7, 5)
    expected = slow_info_nce(one, other, temperature)
    assert info_nce(one, other, temperature).item() == pytest.approx(expected, rel=1e-5)
    assert info_nce(other, one, temperature).item() == pytest.approx(expected, rel=1e-5)  # both directions
    assert info_nce(3 * one, other, temperature).item() == pytest.approx(expected, rel=1e-5)  # cosines
    assert info_nce(one, other.roll(1, 0), temperature).item() != pytest.approx(expected, rel=1e-2)


def test_a_single_row_teaches_nothing() -> None:
    one = torch.randn(1, 5, requires_grad=True)
    loss = info_nce(one, torch.randn(1, 5), 1.0)
    loss.backward()
    assert loss == 0
    assert not one.grad.any()


def test_compactness(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anomalib_clip3dad.models.lsfa.loss._AT_ONCE", 4)  # several parts
    features, bank = torch.randn(9, 5), torch.randn(20, 5)
    ids, bank_ids = torch.arange(9), torch.arange(20) % 11
    expected = slow_compactness(features, ids.tolist(), bank, bank_ids.tolist())
    assert compactness(features, ids, bank, bank_ids).item() == pytest.approx(expected, rel=1e-5)


def test_own_copies_are_passed_over() -> None:
    features = torch.randn(3, 5)
    bank = torch.cat([features, features + 1])
    ids, bank_ids = torch.tensor([0, 1, 2]), torch.tensor([0, 1, 2, 3, 3, 3])
    own = compactness(features, ids + 10, bank, bank_ids)
    others = compactness(features, ids, bank, bank_ids)
    assert own < 1e-5
    assert others.item() == pytest.approx(slow_compactness(features, ids.tolist(), bank, bank_ids.tolist()), rel=1e-5)


def test_features_without_a_partner_do_not_count() -> None:
    features = torch.randn(3, 5, requires_grad=True)
    bank, bank_ids = torch.randn(2, 5), torch.tensor([0, 0])
    loss = compactness(features, torch.tensor([0, 1, 2]), bank, bank_ids)
    assert loss.item() == pytest.approx(compactness(features[1:], torch.tensor([1, 2]), bank, bank_ids).item())
    alone = compactness(features, torch.zeros(3, dtype=torch.int64), bank, bank_ids)
    assert alone == 0
    alone.backward()
    assert not features.grad.any()


def test_the_gradient_lives_far_away_and_pulls_to_the_bank() -> None:
    features = torch.tensor([[100.0, 0.0], [0.0, 0.0]], requires_grad=True)
    bank = torch.zeros(1, 2, requires_grad=True)
    compactness(features, torch.tensor([0, 1]), bank, torch.tensor([2])).backward()
    assert features.grad.tolist() == [[0.5, 0.0], [0.0, 0.0]]  # a unit vector over two; finite at no distance
    assert bank.grad is None


def test_relative_variance() -> None:
    frozen = torch.randn(50, 4, dtype=torch.float64)
    assert relative_variance(frozen + 7, frozen).item() == pytest.approx(1)
    assert relative_variance(frozen / 2, frozen).item() == pytest.approx(1 / 4)
    assert relative_variance(frozen.mean(dim=0).expand(50, 4), frozen).item() == pytest.approx(0, abs=1e-9)
    expected = sum(float(((column - column.mean()) ** 2).sum()) for column in frozen[:, :2].T)
    expected /= sum(float(((column - column.mean()) ** 2).sum()) for column in frozen.T)
    half = torch.cat([frozen[:, :2], torch.zeros(50, 2)], dim=1)
    assert relative_variance(half, frozen).item() == pytest.approx(expected)
