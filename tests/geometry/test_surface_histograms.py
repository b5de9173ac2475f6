# SPDX-License-Identifier: Apache-2.0
"""Histograms of the surface against a slow reference written from FPFH's definitions, and what a dent does to them."""

import math

import pytest
import torch
from torch import Tensor

from anomalib_clip3dad.geometry.shading import surface_normals
from anomalib_clip3dad.geometry.surface_histograms import surface_histograms


def part(size: int = 24, dent: float = 0.0, turned: bool = False) -> tuple[Tensor, Tensor]:
    """A curved sheet of 24 pixels of 1 mm at 0.4 m, 5 mm high, with a dent of so many metres in its middle."""
    place = (torch.arange(size) - size / 2 + 0.5) * 1e-3
    y, x = torch.meshgrid(place, place, indexing="ij")
    across = y if turned else x
    depth = 0.4 + 40 * across**2 + dent * torch.exp(-(x**2 + y**2) / (2 * 0.002**2))
    return torch.stack([x, y, depth])[None], torch.ones(1, size, size, dtype=torch.bool)


def reference(xyz: Tensor, foreground: Tensor, grid: tuple[int, int]) -> Tensor:
    """Pair by pair: the Darboux frame u = n, v = d x u / |d x u|, w = u x v at the point itself."""
    normals = surface_normals(xyz, foreground)[0].double()
    known = foreground[0] & normals.any(dim=0)
    points, size = xyz[0].double(), xyz.shape[-2:]
    circle = [(round(4 * math.sin(2 * math.pi * i / 12)), round(4 * math.cos(2 * math.pi * i / 12))) for i in range(12)]
    cells = [side // parts for side, parts in zip(size, grid, strict=True)]
    counts, pairs = torch.zeros(33, *grid).double(), torch.zeros(grid).double()
    for row in range(size[0]):
        for column in range(size[1]):
            for down, right in circle:
                other = (row + down, column + right)
                if not all(0 <= place < side for place, side in zip(other, size, strict=True)) or not (
                    known[row, column] and known[other]
                ):
                    continue
                u, n = normals[:, row, column], normals[:, other[0], other[1]]
                d = points[:, other[0], other[1]] - points[:, row, column]
                v = torch.linalg.cross(d, u)
                v = v / v.norm()
                w = torch.linalg.cross(u, v)
                angles = (math.atan2(w @ n, u @ n) / math.pi, v @ n, u @ d / d.norm())
                for third, value in enumerate(angles):
                    place = (float(value) + 1) * 5
                    low = min(int(place), 9)
                    for one in (low, low + 1):
                        counts[11 * third + one, row // cells[0], column // cells[1]] += 1 - abs(place - one)
                pairs[row // cells[0], column // cells[1]] += 1
    return torch.nn.functional.avg_pool2d(counts[None], 3, 1, 1) / torch.nn.functional.avg_pool2d(
        pairs[None, None], 3, 1, 1
    )


@pytest.mark.parametrize("hole", [False, True])
def test_it_counts_the_angles_of_all_pairs(hole: bool) -> None:
    xyz, foreground = part(dent=-0.003)
    if hole:
        foreground[:, 10:14, 8:15] = False
        xyz = xyz.where(foreground[:, None], 0.0)
    found = surface_histograms(xyz, foreground, (3, 3)).square().double()
    expected = reference(xyz, foreground, (3, 3))
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=0)
    assert 20 < (expected == 0).sum() == (found[expected == 0] == 0).sum()  # no root of a rounding error


@pytest.mark.parametrize(("rows", "grid"), [(slice(16), (2, 3)), (slice(20), (5, 2))])
def test_pictures_and_patches_need_not_be_square(rows: slice, grid: tuple[int, int]) -> None:
    xyz, foreground = (each[..., rows, :] for each in part(dent=-0.003))
    found = surface_histograms(xyz, foreground, grid).square().double()
    torch.testing.assert_close(found, reference(xyz, foreground, grid), atol=2e-3, rtol=0)


def test_points_without_a_normal_make_no_pairs() -> None:
    xyz, foreground = part(dent=-0.003)
    foreground[:, :8] = False
    foreground[:, 4, 4::4] = True  # four pixels from their neighbours on the circle
    found = surface_histograms(xyz, foreground, (3, 3)).square().double()
    torch.testing.assert_close(found, reference(xyz, foreground, (3, 3)), atol=2e-3, rtol=0)


def test_a_batch_is_its_samples() -> None:
    samples = part(dent=-0.003), part(dent=0.002, turned=True)
    samples[1][1][:, :, :9] = False
    together = surface_histograms(*(torch.cat(each) for each in zip(*samples, strict=True)), (3, 3))
    torch.testing.assert_close(together, torch.cat([surface_histograms(*sample, (3, 3)) for sample in samples]))


def test_each_third_sums_to_one_and_nothing_is_there_without_points() -> None:
    xyz, foreground = part()
    found = surface_histograms(xyz, foreground, (3, 3)).square()
    torch.testing.assert_close(found.unflatten(1, (3, 11)).sum(dim=2), torch.ones(1, 3, 3, 3), atol=1e-4, rtol=0)
    assert not surface_histograms(torch.zeros_like(xyz), ~foreground, (3, 3)).any()


def test_a_turned_surface_looks_the_same_and_a_dented_one_does_not() -> None:
    middle = (0, slice(None), 1, 1)
    flat, turned, dented = (
        surface_histograms(*part(dent=dent, turned=turned), (3, 3))[middle]
        for dent, turned in ((0.0, False), (0.0, True), (0.002, False))
    )
    assert (flat - turned).norm() < 0.02
    assert (flat - dented).norm() > 0.2


def test_what_is_beside_the_part_does_not_matter() -> None:
    xyz, foreground = part()
    foreground[:, :, 16:] = False
    other = xyz.where(foreground[:, None], torch.nan)
    torch.testing.assert_close(
        surface_histograms(other, foreground, (3, 3)), surface_histograms(xyz, foreground, (3, 3))
    )


def test_a_wrong_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(B, 3, H, W\)"):
        surface_histograms(torch.zeros(3, 8, 8), torch.ones(1, 8, 8, dtype=torch.bool), (1, 1))
