# SPDX-License-Identifier: Apache-2.0
"""Sampling of clouds against loops."""

import torch

from anomalib_clip3dad.geometry.sampling import ball_neighbours, farthest_points, interpolate, pick


def test_farthest_points_against_a_loop() -> None:
    points = torch.rand(40, 3)
    chosen = [int(((points - points.mean(dim=0)) ** 2).sum(dim=1).argmax())]
    while len(chosen) < 12:
        nearest = [min(float((point - points[each]).norm()) for each in chosen) for point in points]
        chosen.append(nearest.index(max(nearest)))
    assert farthest_points(points, 12).tolist() == chosen


def test_interpolation_against_a_loop() -> None:
    values, places, points = torch.rand(7, 4), torch.rand(7, 3), torch.rand(10, 3)
    for point, found in zip(points, interpolate(values, places, points), strict=True):
        squared = ((places - point) ** 2).sum(dim=1)
        nearest = squared.argsort()[:3]
        shares = 1 / (squared[nearest] + 1e-8)
        expected = sum(share * values[place] for share, place in zip(shares, nearest, strict=True)) / shares.sum()
        torch.testing.assert_close(found, expected)


def test_a_batch_is_its_samples_and_a_start_is_a_shorter_choice() -> None:
    clouds = torch.rand(3, 50, 3)
    chosen = farthest_points(clouds, 20)
    for cloud, found in zip(clouds, chosen, strict=True):
        assert torch.equal(farthest_points(cloud, 20), found)
    assert torch.equal(farthest_points(clouds, 7), chosen[:, :7])
    values, wanted = torch.rand(3, 50, 2), torch.rand(3, 9, 3)
    expected = [interpolate(*sample) for sample in zip(values, clouds, wanted, strict=True)]
    torch.testing.assert_close(interpolate(values, clouds, wanted), torch.stack(expected))


def test_neighbours_in_a_ball_against_a_loop() -> None:
    points = torch.rand(2, 30, 3)
    centres = points[:, :6]
    found = ball_neighbours(centres, points, radius=0.4, count=5)
    short = 0
    for sample in range(2):
        for centre in range(6):
            away = (points[sample] - centres[sample, centre]).norm(dim=1)
            near = [i for i in range(30) if away[i] <= 0.4][:5]
            short += len(near) < 5
            assert found[sample, centre].tolist() == near + near[:1] * (5 - len(near))
    assert short  # the case of too few is among them


def test_rows_are_picked_for_each_sample() -> None:
    values = torch.arange(24.0).reshape(2, 4, 3)
    indices = torch.tensor([[[0, 3]], [[2, 2]]])
    assert torch.equal(pick(values, indices), torch.stack([values[0][[0, 3]], values[1][[2, 2]]])[:, None])
    assert torch.equal(pick(values, indices[:, 0]), torch.stack([values[0][[0, 3]], values[1][[2, 2]]]))
