# SPDX-License-Identifier: Apache-2.0
"""FPFH against loops over pairs of points, written from the paper's formulas and Open3D's conventions."""

import math

import numpy as np
import pytest
import torch

from anomalib_clip3dad.geometry.fpfh import (
    FPFH_SIZE,
    Neighbours,
    estimate_normals,
    find_neighbours,
    fpfh,
    organised_fpfh,
)
from tests.conftest import bumpy_part


def scattered(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Points and normals (N, 3) of any directions: all bins are met, and frames stand at either end."""
    generator = torch.Generator().manual_seed(seed)
    points, normals = (torch.randn(count, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    return 0.05 * points, torch.nn.functional.normalize(normals)


def slow_neighbours(points: np.ndarray, radius: float, max_nn: int) -> list[list[tuple[int, float]]]:
    found = []
    for point in points:
        distances = ((points - point) ** 2).sum(axis=1)
        order = np.argsort(distances, kind="stable")[:max_nn]
        found.append([(int(i), distances[i]) for i in order if distances[i] < radius**2])
    return found


def slow_angles(p1: np.ndarray, n1: np.ndarray, p2: np.ndarray, n2: np.ndarray) -> tuple[float, float, float]:
    """Theta, alpha and phi of Rusu et al. 2009, Eq. 1; zeros where no frame can be drawn."""
    line = p2 - p1
    distance = np.linalg.norm(line)
    if distance == 0:
        return 0.0, 0.0, 0.0
    if math.acos(min(1, abs(n1 @ line) / distance)) > math.acos(min(1, abs(n2 @ line) / distance)):
        line, n1, n2 = -line, n2, n1
    u = n1
    v = np.cross(line, u)
    if np.linalg.norm(v) == 0:
        return 0.0, 0.0, 0.0
    v /= np.linalg.norm(v)
    w = np.cross(u, v)
    return math.atan2(w @ n2, u @ n2), v @ n2, u @ line / distance


def slow_own(p: np.ndarray, n: np.ndarray, neighbours: list[list[tuple[int, float]]]) -> np.ndarray:
    """The simplified histograms, SPFH."""
    own = np.zeros((len(p), 33))
    for i, near in enumerate(neighbours):
        for j, _ in near[1:]:
            theta, alpha, phi = slow_angles(p[i], n[i], p[j], n[j])
            for third, share in enumerate(((theta + math.pi) / (2 * math.pi), (alpha + 1) / 2, (phi + 1) / 2)):
                own[i, 11 * third + min(10, max(0, math.floor(11 * share)))] += 100 / (len(near) - 1)
    return own


def slow_fpfh(points: torch.Tensor, normals: torch.Tensor, radius: float, max_nn: int) -> np.ndarray:
    neighbours = slow_neighbours(points.numpy(), radius, max_nn)
    own = slow_own(points.numpy(), normals.numpy(), neighbours)
    features = np.zeros_like(own)
    for i, near in enumerate(neighbours):
        for j, squared in near[1:]:
            features[i] += own[j] / squared if squared else 0
        for third in (slice(0, 11), slice(11, 22), slice(22, 33)):
            features[i, third] *= 100 / (features[i, third].sum() or 1)
        features[i] += own[i]
    return features


@pytest.mark.parametrize(("radius", "max_nn"), [(1.0, 12), (0.06, 100), (0.03, 8), (0.001, 8), (1.0, 1)])
def test_loops_find_the_same(radius: float, max_nn: int) -> None:
    """Neighbourhoods limited by their number, by their radius, by both, and empty ones."""
    points, normals = scattered(60)
    found = fpfh(points, normals, find_neighbours(points, radius, max_nn)).numpy()
    np.testing.assert_allclose(found, slow_fpfh(points, normals, radius, max_nn), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("pairs", [50, 5])  # of several points, of half a point
def test_parts_of_the_cloud_are_computed_alike(monkeypatch: pytest.MonkeyPatch, pairs: int) -> None:
    points, normals = scattered(60)
    neighbours = find_neighbours(points, 1.0, 12)
    whole = fpfh(points, normals, neighbours)
    monkeypatch.setattr("anomalib_clip3dad.geometry.fpfh._PAIRS_AT_ONCE", pairs)
    assert torch.equal(fpfh(points, normals, neighbours), whole)


def test_angles_are_computed_in_double_precision() -> None:
    """Among these 73 500 angles are some that single precision puts into the neighbouring bin."""
    points, normals = (each.float() for each in scattered(500, seed=25))
    neighbours = find_neighbours(points, 1.0, 50)
    assert torch.equal(fpfh(points, normals, neighbours), fpfh(points.double(), normals.double(), neighbours))


def test_each_third_has_sum_200_and_empty_neighbourhoods_zero() -> None:
    points, normals = scattered(40)
    points[0] = 10.0
    found = fpfh(points, normals, find_neighbours(points, 0.2, 10)).reshape(40, 3, 11).sum(dim=2)
    torch.testing.assert_close(found[1:], torch.full((39, 3), 200.0, dtype=torch.float64))
    assert not found[0].any()


def test_points_in_one_place_and_lines_along_a_normal() -> None:
    """Where no frame can be drawn the angles count as zero."""
    points = torch.tensor([[0.0, 0, 1], [0, 0, 1], [0, 0, 1.5], [0.25, 0, 1]], dtype=torch.float64)
    normals = torch.tensor([[0.0, 0, -1], [0, 0, -1], [0, 0, -1], [1, 0, 0]], dtype=torch.float64)
    found = fpfh(points, normals, find_neighbours(points, 2.0, 4)).numpy()
    np.testing.assert_allclose(found, slow_fpfh(points, normals, 2.0, 4), rtol=1e-10, atol=1e-10)


def test_the_frame_is_at_the_point_itself_where_both_normals_are_as_close_to_the_line() -> None:
    points = torch.tensor([[0.0, 0, 1], [0.5, 0, 1], [0.5, 0.3, 1]], dtype=torch.float64)
    normals = torch.tensor([[0.6, 0.8, 0], [0.6, 0, 0.8], [0, 0, 1]], dtype=torch.float64)
    found = fpfh(points, normals, find_neighbours(points, 1.0, 2)).numpy()
    np.testing.assert_allclose(found, slow_fpfh(points, normals, 1.0, 2), rtol=1e-10, atol=1e-10)
    assert found[0, 22 + 8] >= 100  # phi = 0.6; from the other point it would be -0.6


def test_the_largest_angles_are_in_the_last_bins() -> None:
    """Normals that are opposite, and one that is v itself."""
    points = torch.tensor([[0.0, 0, 1], [0.5, 0, 1]], dtype=torch.float64)
    for other, bins in (([0.0, 0, -1], [10, 16, 27]), ([0.0, -1, 0], [5, 21, 27])):
        normals = torch.tensor([[0.0, 0, 1], other], dtype=torch.float64)
        found = fpfh(points, normals, find_neighbours(points, 1.0, 2)).numpy()
        np.testing.assert_allclose(found, slow_fpfh(points, normals, 1.0, 2), rtol=1e-10, atol=1e-10)
        assert (found[0, bins] >= 100).all()


def test_turning_the_cloud_changes_nothing() -> None:
    points, normals = scattered(50)
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))).Q
    turn = turn * turn.det()
    one, other = (
        fpfh(p, n, find_neighbours(p, 1.0, 12)) for p, n in ((points, normals), (points @ turn, normals @ turn))
    )
    torch.testing.assert_close(one, other)


@pytest.mark.parametrize(("radius", "max_nn"), [(1.0, 9), (0.04, 9), (0.04, 60)])
def test_neighbours_and_their_part_within(radius: float, max_nn: int) -> None:
    points, _ = scattered(60)
    expected = slow_neighbours(points.numpy(), radius, max_nn)
    for found in (find_neighbours(points, radius, max_nn), find_neighbours(points, 1.0, 60).within(radius, max_nn)):
        for indices, squared, near in zip(*found, expected, strict=True):
            assert [i for i in indices.tolist() if i < 60] == [i for i, _ in near]
            assert squared[: len(near)].tolist() == pytest.approx([d for _, d in near])
            assert squared[len(near) :].isinf().all()


def test_a_point_as_far_as_the_radius_is_no_neighbour() -> None:
    points = torch.tensor([[0.0, 0, 1], [0.5, 0, 1], [0, 0.25, 1]])
    for found in (find_neighbours(points, 0.5, 3), find_neighbours(points, 1.0, 3).within(0.5, 3)):
        assert found.indices.tolist() == [[0, 2, 3], [1, 3, 3], [2, 0, 3]]


def test_normals_are_the_direction_of_least_spread_towards_the_sensor() -> None:
    points, _ = scattered(60)
    points += torch.tensor([0.0, 0.0, 1.0])
    found = estimate_normals(points, find_neighbours(points, 0.05, 9)).numpy()
    for normal, point, near in zip(found, points.numpy(), slow_neighbours(points.numpy(), 0.05, 9), strict=True):
        if len(near) < 3:
            expected = -point / np.linalg.norm(point)
        else:
            spread = np.cov(points.numpy()[[i for i, _ in near]].T)
            expected = np.linalg.eigh(spread)[1][:, 0]
            expected *= -np.sign(expected @ point)
        np.testing.assert_allclose(normal, expected, atol=1e-6)


def test_organised_clouds_of_different_foregrounds() -> None:
    clouds = torch.stack([bumpy_part(12, 14, seed)[1] for seed in (0, 1)])
    foreground = clouds[:, 2] > 0
    # of two points with equal angles, rounding, which differs between processors, decides which one is the origin
    clouds += 1e-4 * torch.rand(clouds.shape, generator=torch.Generator().manual_seed(0)) * foreground[:, None]
    foreground[0, :, :5] = False
    clouds[0, :, :, :5] = torch.nan
    numbers = {"normal_radius": 0.05, "normal_max_nn": 8, "feature_radius": 0.06, "feature_max_nn": 10}
    found = organised_fpfh(clouds, foreground, **numbers)
    assert found.shape == (2, FPFH_SIZE, 12, 14)
    assert found.dtype == torch.float32
    for cloud, mask, features in zip(clouds, foreground, found, strict=True):
        points = cloud[:, mask].T.double()
        normals = estimate_normals(points, find_neighbours(points, 0.05, 8))
        expected = slow_fpfh(points, normals, 0.06, 10)
        np.testing.assert_allclose(features[:, mask].T, expected, rtol=1e-5, atol=1e-5)
        assert not features[:, ~mask].any()


@pytest.mark.parametrize("scale", [1, 3])  # limited by the numbers, by the radii
def test_the_numbers_left_out_are_btfs(scale: float) -> None:
    cloud = scale * bumpy_part(12, 14)[1]
    points = cloud[:, cloud[2] > 0].T.double()
    near = find_neighbours(points, 0.25, 100)
    assert (near.indices[:, -1] < len(points)).all() == (scale == 1)
    expected = fpfh(points, estimate_normals(points, find_neighbours(points, 0.1, 30)), near)
    found = organised_fpfh(cloud[None], cloud[None, 2] > 0)[0]
    torch.testing.assert_close(found[:, cloud[2] > 0].T, expected.float())


def test_nothing_to_describe() -> None:
    assert not organised_fpfh(torch.zeros(1, 3, 4, 4), torch.zeros(1, 4, 4, dtype=torch.bool)).any()
    lonely = torch.zeros(1, 4, 4, dtype=torch.bool)
    lonely[0, 1, 1] = True
    assert not organised_fpfh(torch.ones(1, 3, 4, 4), lonely).any()


def test_same_bits_twice() -> None:
    _, cloud = bumpy_part(20, 20)
    foreground = cloud[None, 2] > 0
    assert torch.equal(organised_fpfh(cloud[None], foreground), organised_fpfh(cloud[None], foreground))


def test_wrong_layout_is_named() -> None:
    with pytest.raises(ValueError, match=r"`xyz` has shape \(3, 4, 4\), wanted"):
        organised_fpfh(torch.zeros(3, 4, 4), torch.zeros(1, 4, 4, dtype=torch.bool))


def test_known_histogram_of_three_points() -> None:
    """On a plane all normals agree: every angle is zero, the sixth bin of each third."""
    points = torch.tensor([[0.0, 0, 1], [0.1, 0, 1], [0, 0.1, 1]])
    normals = torch.tensor([[0.0, 0, -1]]).repeat(3, 1)
    found = fpfh(points, normals, Neighbours(*find_neighbours(points, 1.0, 3)))
    expected = torch.zeros(FPFH_SIZE, dtype=torch.float64)
    expected[[5, 16, 27]] = 200
    torch.testing.assert_close(found, expected.expand(3, -1))
