# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest
import torch

from anomalib_clip3dad.geometry import Camera, resize_organised, validity_mask
from anomalib_clip3dad.geometry.splat import (
    MAX_RADIUS,
    ZBuffer,
    depth_in_pixels,
    grow,
    ray_spacing,
    splat_radius,
    visible_points,
    z_buffer,
)

from .scenes import organise


def test_spacing_of_a_pinhole_is_its_pixel_whatever_the_depths():
    depth = np.full((40, 60), 0.5)
    depth[:, 30:] = 0.3  # a step of 0.2 m
    depth[:20, 10] = 0.0
    xyz = organise(depth)
    assert ray_spacing(xyz, validity_mask(xyz)).item() == pytest.approx(1 / 90, rel=1e-3)


def test_spacing_of_a_line_scanner_is_its_step_whatever_the_depths():
    row, column = np.mgrid[:40, :60].astype(np.float32)
    depth = np.where(column < 30, 0.5, 0.4).astype(np.float32)
    xyz = torch.from_numpy(np.stack((0.002 * (column - 30), 0.001 * (row - 20), depth)))[None]
    assert ray_spacing(xyz, validity_mask(xyz)).item() == pytest.approx(0.002 / 0.4, rel=1e-3)


@pytest.mark.parametrize(
    ("native", "size", "pixels"), [(60, 60, 1), (60, 48, 2), (60, 20, 3), (20, 60, 1), (50, 60, 1)]
)
def test_spacing_of_a_resized_cloud_is_its_largest_gap(native, size, pixels):
    xyz = resize_organised(organise(np.full((native, native), 0.5)), (size, size))
    assert ray_spacing(xyz, validity_mask(xyz)).item() == pytest.approx(pixels / (1.5 * native), rel=1e-3)


def test_spacing_forgets_a_jump_and_survives_having_no_pair():
    xyz = organise(np.full((20, 20), 0.5))
    xyz[0, 0, 10, 10] += 5.0  # a flying point, sideways
    both = xyz.repeat(2, 1, 1, 1)
    foreground = torch.ones(2, 20, 20, dtype=torch.bool)
    foreground[1] = (torch.arange(400).reshape(20, 20) % 40) == 0
    one, none = ray_spacing(both, foreground).tolist()
    assert 1 / 30 <= one < 0.2
    assert none == 0


def test_radius_reaches_every_place_of_a_turned_lattice():
    spacing = torch.tensor([0.01, 0.02, 0.05, 0.2, 9.0])
    radii = splat_radius(spacing, torch.ones(5), focal=100.0)
    assert radii.tolist() == [1, 1, 4, 14, 15]
    rng = np.random.default_rng(0)
    for step, radius in zip((100 * spacing[:4]).tolist(), radii.tolist(), strict=False):
        for angle in np.radians([0, 15, 30, 45]):
            lattice = np.stack(np.meshgrid(np.arange(-9, 10), np.arange(-9, 10)), -1).reshape(-1, 2) * step
            turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
            cells = np.floor(lattice @ turn + rng.random(2) + 0.5)
            for pixel in rng.integers(-3 * math.ceil(step), 3 * math.ceil(step) + 1, (50, 2)):
                assert abs(cells - pixel).max(axis=1).min() <= radius


def test_depth_is_counted_in_pixels():
    camera = Camera(torch.zeros(2, 3), torch.zeros(2, 1, 3), torch.tensor([[1.0], [0.5]]), focal=100.0, principal=0.0)
    depth = torch.tensor([[[1.0, 0.02]], [[1.0, math.inf]]])
    assert depth_in_pixels(depth, camera)[:, 0].tolist() == [[100.0, 2.0], [200.0, math.inf]]
    step = depth_in_pixels(torch.tensor([[[0.123456]], [[0.5]]]), camera) * 1024
    assert torch.equal(step, step.round())
    # a cloud of kilometres, whose pixels span 16 m, and one so large that a pixel is less than the least factor
    far = camera._replace(distance=torch.tensor([[1600.0], [1e5]]))
    assert depth_in_pixels(torch.full((2, 1, 1), 1600.0), far).flatten().tolist() == [100, 100]


def test_z_buffer_against_a_loop():
    generator = torch.Generator().manual_seed(0)
    cells = torch.randint(0, 25, (2, 3, 60), generator=generator)
    depth = torch.randint(1, 6, (2, 3, 60), generator=generator).float()  # many ties
    depth[torch.rand(2, 3, 60, generator=generator) < 0.3] = math.inf
    depth[1, 2] = math.inf
    buffer = z_buffer(cells, depth, size=5)
    assert buffer.point.dtype == torch.int32
    for b in range(2):
        for v in range(3):
            for cell in range(25):
                drawn = [(depth[b, v, i].item(), i) for i in range(60) if cells[b, v, i] == cell]
                best = min([entry for entry in drawn if entry[0] < math.inf], default=(math.inf, 60))
                row, column = divmod(cell, 5)
                assert (buffer.depth[b, v, row, column].item(), buffer.point[b, v, row, column].item()) == best


def test_grow_against_a_loop():
    generator = torch.Generator().manual_seed(1)
    size, radius = 18, torch.tensor([0.0, 1.0, 2.0, 6.0, 15.0])
    depth = torch.randint(1, 12, (5, 1, size, size), generator=generator).float()  # many ties
    depth[torch.rand(5, 1, size, size, generator=generator) < 0.9] = math.inf
    point = torch.arange(size * size, dtype=torch.int32).reshape(size, size).repeat(5, 1, 1, 1)
    grown = grow(ZBuffer(depth, point), radius)
    for b, v, r, c in np.ndindex(5, 1, size, size):
        reach = int(radius[b])
        best, expected = (math.inf,), (math.inf, None)
        for row in range(max(0, r - reach), min(size, r + reach + 1)):
            for column in range(max(0, c - reach), min(size, c + reach + 1)):
                cost = depth[b, v, row, column].item() + abs(row - r) + abs(column - c)
                order = (cost, max(c - column, 0), max(column - c, 0), max(r - row, 0), max(row - r, 0))
                if cost < math.inf and order < best:
                    best, expected = order, (cost, point[b, v, row, column].item())
        assert grown.depth[b, v, r, c].item() == expected[0]
        if expected[1] is not None:
            assert grown.point[b, v, r, c].item() == expected[1]


def test_a_point_grows_into_a_square_that_recedes_whatever_its_radius():
    radius = torch.arange(MAX_RADIUS + 1.0)
    size = 2 * MAX_RADIUS + 5
    depth = torch.full((len(radius), 1, size, size), math.inf)
    depth[..., size // 2, size // 2] = 7.0
    point = torch.where(depth < math.inf, 3, 4).int()
    grown = grow(ZBuffer(depth, point), radius)
    away = (torch.arange(size) - size // 2).abs()
    for reach, found, shown in zip(radius.tolist(), grown.depth[:, 0], grown.point[:, 0], strict=True):
        inside = (away <= reach) & (away[:, None] <= reach)
        expected = (7.0 + away + away[:, None]).where(inside, torch.tensor(math.inf))
        assert torch.equal(found, expected)
        assert (shown[inside] == 3).all()


def test_what_is_just_behind_is_visible_and_what_is_far_behind_is_not():
    front = torch.full((1, 1, 1, 2), 10.0)
    cells = torch.zeros(1, 1, 4, dtype=torch.int64)
    depth = torch.tensor([[[10.0, 16.0, 16.5, math.inf]]])
    buffer = ZBuffer(front, torch.zeros(1, 1, 1, 2, dtype=torch.int32))
    assert visible_points(buffer, cells, depth, torch.tensor([2.0]))[0, 0].tolist() == [True, True, False, False]
