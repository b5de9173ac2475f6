# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch

from anomalib_clip3dad.geometry.knn_smoothing import SMOOTHED_OVER, smooth_scores, spread_scores


def clouds(counts: tuple[int, ...], total: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random points (B, 3, 1, N) with padding in random places, and scores."""
    generator = torch.Generator().manual_seed(0)
    xyz = torch.randn(len(counts), 3, 1, total, generator=generator)
    for cloud, count in zip(xyz, counts, strict=True):
        cloud[:, :, torch.randperm(total, generator=generator)[count:]] = 0
    return xyz, torch.rand(len(counts), 1, total, generator=generator)


def slow_mean(xyz: torch.Tensor, scores: torch.Tensor, neighbours: int) -> torch.Tensor:
    """Sort all distances of each point."""
    found = torch.zeros_like(scores)
    for b in range(len(xyz)):
        known = [n for n in range(xyz.shape[-1]) if xyz[b, :, 0, n].abs().sum() > 0]
        for n in known:
            distances = [((xyz[b, :, 0, m] - xyz[b, :, 0, n]) ** 2).sum().item() for m in known]
            near = [known[place] for place in np.argsort(distances)[:neighbours]]
            found[b, 0, n] = scores[b, 0, near].mean()
    return found


@pytest.mark.parametrize("neighbours", [1, 4, 1000])
def test_mean_over_the_nearest_is_that_of_the_slow_reference(neighbours: int) -> None:
    xyz, scores = clouds((30, 18), 30)
    found = smooth_scores(xyz, scores, neighbours)
    torch.testing.assert_close(found, slow_mean(xyz, scores, neighbours))
    if neighbours == 1:
        assert torch.equal(found[0], scores[0])


def test_order_of_the_points_does_not_count() -> None:
    xyz, scores = clouds((50,), 50)
    order = torch.randperm(50)
    shuffled = smooth_scores(xyz[..., order], scores[..., order], 5)
    torch.testing.assert_close(shuffled, smooth_scores(xyz, scores, 5)[..., order])


def test_nothing_but_padding() -> None:
    assert smooth_scores(torch.zeros(1, 3, 1, 4), torch.ones(1, 1, 4)).tolist() == [[[0.0] * 4]]


def test_the_usual_number_is_the_share_of_the_papers_gaussian() -> None:
    """Samples that a mean must have to damp noise as a Gaussian of 4 cells does, per cell of 336 x 336."""
    x = np.arange(-20, 21)
    kernel = np.exp(-(x[:, None] ** 2 + x[None] ** 2) / (2 * 4**2))
    kernel /= kernel.sum()
    assert pytest.approx(57600 * (1 / (kernel**2).sum()) / 336**2, rel=0.05) == SMOOTHED_OVER


def test_spread_scores_are_those_of_the_slow_reference() -> None:
    rng = np.random.default_rng(0)
    points, scores, targets = rng.random((40, 3)), rng.random(40), rng.random((25, 3))
    targets[3] = points[7]
    found = spread_scores(points, scores, targets)
    for target, value in zip(targets, found, strict=True):
        distances = np.linalg.norm(points - target, axis=1)
        near = distances.argsort()[:3]
        if distances[near[0]] == 0:
            assert value == scores[near[0]]
        else:
            assert value == pytest.approx(np.average(scores[near], weights=1 / distances[near]))


def test_spread_scores_of_a_cloud_of_one_point_and_of_doubled_points() -> None:
    assert spread_scores(np.zeros((1, 3)), np.array([2.0]), np.ones((2, 3))).tolist() == [2.0, 2.0]
    doubled = np.zeros((3, 3))
    assert spread_scores(doubled, np.array([1.0, 1.0, 1.0]), doubled).tolist() == [1.0] * 3
