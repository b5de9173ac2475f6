# SPDX-License-Identifier: Apache-2.0
"""Against loops."""

import pytest
import torch

from anomalib_clip3dad.models.lsfa import leave_one_out
from anomalib_clip3dad.models.lsfa.leave_one_out import left_out_distances, scale_of


def slow(features: torch.Tensor, part: torch.Tensor, near: float = 3.5) -> list[float]:
    shots, _, height, width = features.shape
    found = []
    for shot, row, column in part.nonzero().tolist():
        others = [
            float((features[shot, :, row, column] - features[other, :, i, j]).norm())
            for other in range(shots)
            for i in range(height)
            for j in range(width)
            if other != shot or (shots == 1 and part[0, i, j] and (i - row) ** 2 + (j - column) ** 2 >= near**2)
            if shots == 1 or other != shot
        ]
        found += [min(others)] if others else []
    return found


@pytest.mark.parametrize("shots", [1, 2, 3])
def test_each_shot_is_compared_with_the_others(shots: int) -> None:
    features, part = torch.randn(shots, 4, 5, 6), torch.rand(shots, 5, 6) < 0.7
    expected = torch.tensor(slow(features, part))
    mean, deviation = scale_of(left_out_distances(features, part))
    assert mean.item() == pytest.approx(expected.mean().item(), rel=1e-4)
    assert deviation.item() == pytest.approx(expected.std().item(), rel=1e-4)


def test_shots_that_are_alike_have_no_distance() -> None:
    features = torch.randn(1, 4, 5, 6).expand(2, -1, -1, -1)
    mean, deviation = scale_of(left_out_distances(features, torch.ones(2, 5, 6, dtype=torch.bool)))
    assert mean < 1e-2  # rounding of the matrix product
    assert deviation >= 1e-6


def test_a_part_too_small_to_be_compared_leaves_the_scale() -> None:
    part = torch.zeros(1, 5, 6, dtype=torch.bool)
    part[0, 2, 2:5] = True
    mean, deviation = scale_of(left_out_distances(torch.randn(1, 4, 5, 6), part))
    assert (mean.item(), deviation.item()) == (0, 1)


def test_of_many_shots_some_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leave_one_out, "_AT_MOST", 3)
    features, part = torch.randn(5, 4, 5, 6), torch.ones(5, 5, 6, dtype=torch.bool)
    part[1], part[3] = False, False  # shots 0, 2 and 4 are left out one by one, and compared with all
    assert left_out_distances(features, part).mean().item() == pytest.approx(sum(slow(features, part)) / 90, rel=1e-4)


def test_which_patches_are_compared_does_not_depend_on_the_features() -> None:
    part = torch.zeros(1, 5, 6, dtype=torch.bool)
    part[0, 0, :5] = True  # the first and the last are 4 patches apart, all others nearer
    assert [len(left_out_distances(torch.randn(1, channels, 5, 6), part)) for channels in (3, 8)] == [2, 2]
