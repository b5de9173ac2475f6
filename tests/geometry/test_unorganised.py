# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from anomalib_clip3dad.geometry.unorganised import resample


def sphere(count: int, seed: int = 0) -> np.ndarray:
    """Points on a sphere, crowded towards one side, as a scanner sees it."""
    rng = np.random.default_rng(seed)
    points = rng.standard_normal((count, 3)) + np.array([0, 0, 1.5])
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)


def nearest(points: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Distance from each target to the nearest point."""
    return np.sqrt(((targets[:, None] - points[None]) ** 2).sum(axis=-1)).min(axis=1)


def farthest_points(points: np.ndarray, count: int) -> np.ndarray:
    chosen = [0]
    distances = np.linalg.norm(points - points[0], axis=1)
    while len(chosen) < count:
        chosen.append(int(distances.argmax()))
        distances = np.minimum(distances, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return points[chosen]


@pytest.mark.parametrize("count", [10, 100, 999])
def test_thinned_out_is_a_part_of_the_cloud_and_no_point_twice(count: int) -> None:
    points = sphere(1000)
    found = resample(points, count)
    assert found.points.shape == (count, 3)
    assert len(set(found.source.tolist())) == count
    assert np.array_equal(found.points, points[found.source])


def test_thinned_out_covers_nearly_as_well_as_farthest_points_and_far_better_than_chance() -> None:
    points = sphere(4000)
    holes = nearest(resample(points, 300).points, points).max()
    assert holes < 1.6 * nearest(farthest_points(points, 300), points).max()
    drawn = np.random.default_rng(0).permutation(4000)[:300]
    assert holes < 0.6 * nearest(points[drawn], points).max()


def test_the_same_bits_each_time_and_whatever_else_draws() -> None:
    points = sphere(500)
    for count in (100, 3000):
        first = resample(points, count)
        np.random.seed(5)  # noqa: NPY002
        again = resample(points.copy(), count)
        assert np.array_equal(first.points, again.points)
        assert np.array_equal(first.source, again.source)


@pytest.mark.parametrize("count", [130, 400, 5000])
def test_added_points_are_between_neighbours_and_know_the_nearer_end(count: int) -> None:
    points = sphere(120).astype(np.float64)
    found = resample(points, count)
    assert found.points.shape == (count, 3)
    assert np.array_equal(found.points[:120], points)
    assert np.array_equal(found.source[:120], np.arange(120))
    if count <= 400:  # one round: every new point is a quarter, a half or three quarters on its way
        for point, source in zip(found.points[120:], found.source[120:], strict=True):
            order = np.linalg.norm(points - points[source], axis=1)
            ends = points[source] + (point - points[source]) * np.array([2, 4])[:, None]
            reached = np.linalg.norm(points[None] - ends[:, None], axis=-1)
            assert reached.min() < 1e-9
            other = reached.min(axis=0).argmin()
            # the other end is among the three nearest of this one, or this one among its three nearest
            back = np.linalg.norm(points - points[other], axis=1)
            assert other in order.argsort()[:4] or source in back.argsort()[:4]
    distances = np.linalg.norm(found.points[:, None] - points[None], axis=-1)
    assert (distances[np.arange(count), found.source] < 1).all()


def test_labels_of_added_points_are_those_of_the_nearer_end() -> None:
    line = np.array([[0.0, 0, 0], [4.0, 0, 0]])
    found = resample(line, 5)
    at = {float(x): int(label) for x, label in zip(found.points[:, 0], np.array([0, 1])[found.source], strict=True)}
    assert at == {0.0: 0, 1.0: 0, 2.0: 0, 3.0: 1, 4.0: 1}


def test_as_many_points_stay_as_they_are_and_equal_points_do_no_harm() -> None:
    points = sphere(50)
    assert np.array_equal(resample(points, 50).points, points)
    same = np.ones((20, 3))
    assert resample(same, 7).points.shape == (7, 3)
    assert resample(same, 50).points.tolist() == [[1.0, 1.0, 1.0]] * 50


def test_a_single_point_is_no_cloud() -> None:
    with pytest.raises(ValueError, match=r"\(1, 3\), wanted \(M, 3\) with at least 2"):
        resample(np.zeros((1, 3)), 10)
