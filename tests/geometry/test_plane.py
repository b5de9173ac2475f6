# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest
import torch
from torch import nn

from anomalib_clip3dad.geometry import foreground_mask, validity_mask
from anomalib_clip3dad.geometry.plane import _border, _fit, _frame_plane, _starts

from .scenes import organise, pixel_rays

TILT = (0.3, -0.2, 0.6)  # z = a x + b y + c


def table(height, width, tilt=TILT):
    """Depth map of a plane."""
    x, y = pixel_rays(height, width)
    return tilt[2] / (1 - tilt[0] * x - tilt[1] * y)


def box(depth, rows, columns, thickness=0.03):
    """The depth map with a box standing on it, and where the box is."""
    inside = np.zeros(depth.shape, bool)
    inside[rows, columns] = True
    return np.where(inside, depth - thickness, depth), inside


def off_plane(xyz, plane):
    x, y, z = xyz.double().numpy()
    return (plane[0] * x + plane[1] * y + plane[2] - z) / math.sqrt(1 + plane[0] ** 2 + plane[1] ** 2)


@pytest.mark.parametrize(
    ("rows", "columns"),
    [
        (slice(30, 70), slice(40, 100)),  # inside the frame
        (slice(0, 100), slice(0, 30)),  # covers one side and parts of two: 36 % of the frame
        (slice(0, 50), slice(0, 70)),  # covers a corner: 28 %
        (slice(35, 65), slice(0, 140)),  # crosses the image
    ],
)
def test_box_on_a_tilted_table(rows, columns):
    rng = np.random.default_rng(0)
    depth, inside = box(table(100, 140) + 0.0003 * rng.standard_normal((100, 140)), rows, columns)
    lost = rng.random(depth.shape) < 0.2
    mask = foreground_mask(organise(np.where(lost, 0.0, depth)))[0].numpy()
    assert not (mask & ~inside).any()
    assert not (mask & lost).any()
    assert (mask | lost)[inside].mean() > 0.99


@pytest.mark.parametrize("share", [0.2, 0.4])
@pytest.mark.parametrize("side", [1, -1])  # in front, behind
def test_plane_is_that_of_its_own_points(share, side):
    rng = np.random.default_rng(1)
    depth = table(80, 60) + 0.0003 * rng.standard_normal((80, 60))
    wild = rng.random(depth.shape) < share
    depth = np.where(wild, depth - side * rng.uniform(0.01, 0.1, depth.shape), depth)
    depth[rng.random(depth.shape) < 0.3] = 0.0
    xyz = organise(depth)
    valid = validity_mask(xyz)
    plane, found = _frame_plane(xyz.where(valid[:, None], 0.0), valid, frame=10, distance=0.005)
    frame = np.ones(depth.shape, bool)
    frame[10:-10, 10:-10] = False
    x, y, z = xyz[0].double().numpy()[:, frame & ~wild & valid[0].numpy()]
    expected = np.linalg.lstsq(np.stack((x, y, np.ones_like(x)), 1), z, rcond=None)[0]
    assert found.item()
    np.testing.assert_allclose(plane[0], expected, atol=2e-3)
    away = off_plane(xyz[0], expected) - off_plane(xyz[0], plane[0].double().numpy())
    assert abs(away[valid[0].numpy()]).max() < 5e-5  # 0.05 mm


@pytest.mark.parametrize("scale", [0.01, 1, 100])
def test_fit_against_least_squares(scale):
    rng = np.random.default_rng(2)
    points = scale * (rng.uniform(-0.2, 0.2, (2, 3, 50)) + np.array([0.1, -0.3, 0.6])[:, None])
    weight = rng.random((2, 50))
    planes = _fit(torch.from_numpy(points).float(), torch.from_numpy(weight).float())
    for plane, (x, y, z), w in zip(planes, points, np.sqrt(weight), strict=True):
        expected = np.linalg.lstsq(np.stack((x, y, np.ones_like(x)), 1) * w[:, None], z * w, rcond=None)[0]
        np.testing.assert_allclose(plane, expected, rtol=1e-4, atol=1e-5 * scale)


@pytest.mark.parametrize("slope", [2, 1.0003, -1.0003])  # of much and of nearly no difference between the variances
def test_points_on_a_line_give_a_level_plane(slope):
    step = torch.linspace(-0.1, 0.1, 40)
    plane = _fit(torch.stack((step, slope * step, 0.6 + 3 * step)), torch.ones(40))
    np.testing.assert_allclose(plane, [0.0, 0.0, 0.6], atol=1e-6)


def test_border_is_the_frame_thinned_out_if_it_is_large():
    for height, width in ((30, 44), (700, 900)):
        number = torch.arange(height * width).reshape(1, 1, height, width)
        frame = torch.ones(height, width, dtype=torch.bool)
        frame[10:-10, 10:-10] = False
        border = _border(number, 10).flatten().tolist()
        assert len(set(border)) == len(border)
        assert set(border) <= set(number[0, 0][frame].tolist())
        assert min(frame.sum().item(), 4096) <= len(border) < 1.25 * 4096


def test_first_fits_use_all_four_sides_and_four_quarters():
    height, width, frame = 24, 30, 5
    every, *sides_and_quarters = _starts(height, width, frame, torch.ones(()))[0]
    assert every.all()
    sides, quarters = sides_and_quarters[:4], sides_and_quarters[4:]
    for r, c in np.ndindex(height, width):
        near = (r < frame, height - 1 - r < frame, c < frame, width - 1 - c < frame)
        assert [side[r, c].item() for side in sides] == list(near)
        place = 2 * (r >= height / 2) + (c >= width / 2)
        assert [quarter[r, c].item() for quarter in quarters] == [i == place for i in range(4)]


@pytest.mark.parametrize("distance", [0.15, 0.6, 5.0])
@pytest.mark.parametrize(("share", "expected"), [(0.08, False), (0.12, True), (0.4, True)])
def test_plane_shows_in_a_tenth_of_the_frame_at_any_distance(distance, share, expected):
    depth = distance / 0.6 * table(60, 80)
    depth[np.random.default_rng(0).permutation(4800).reshape(60, 80) >= share * 4800] = 0.0
    xyz = organise(depth)
    assert _frame_plane(xyz, validity_mask(xyz), frame=10, distance=0.005)[1].item() == expected


@pytest.mark.parametrize("fewer", [0, 1])
def test_plane_agrees_with_half_of_the_frame(fewer):
    """The left half of the image is a table, the right half noise far behind it."""
    depth = table(40, 40)
    depth[:, 20:] += np.random.default_rng(0).uniform(0.1, 1, (40, 20))
    depth[0, :fewer] += 0.1
    xyz = organise(depth)
    found = _frame_plane(xyz, torch.ones(1, 40, 40, dtype=torch.bool), frame=10, distance=0.005)[1]
    assert found.item() == (fewer == 0)


def random_scene(rng, height, width):
    """Depth map of a tilted table with one to three boxes that cover 10 to 45 % of the frame, and its plane."""
    frame = np.ones((height, width), bool)
    frame[10:-10, 10:-10] = False
    while True:
        plane = (*rng.uniform(-0.4, 0.4, 2), 0.6)
        free, depth = np.ones((height, width), bool), table(height, width, plane)
        for _ in range(rng.integers(1, 4)):
            rows, columns = rng.integers(10, height), rng.integers(10, width)
            top, left = rng.integers(-rows // 2, height - rows // 2), rng.integers(-columns // 2, width - columns // 2)
            part = slice(max(0, top), top + rows), slice(max(0, left), left + columns)
            depth[part] = table(height, width, plane)[part] - rng.uniform(0.008, 0.08)
            free[part] = False
        if 0.1 < 1 - free[frame].mean() < 0.45:
            return depth + 0.0003 * rng.standard_normal((height, width)), plane


def test_plane_of_random_scenes():
    rng = np.random.default_rng(3)
    depths, planes = zip(*(random_scene(rng, 60, 80) for _ in range(150)), strict=True)
    xyz = torch.cat([organise(depth) for depth in depths])
    fitted, found = _frame_plane(xyz, torch.ones(150, 60, 80, dtype=torch.bool), frame=10, distance=0.005)
    assert found.all()
    for plane, expected in zip(fitted.double().numpy(), planes, strict=True):
        on_plane = organise(table(60, 80, expected))[0]
        assert abs(off_plane(on_plane, plane)).max() < 0.001


def test_distance_is_perpendicular():
    steep = (1.0, 0.0, 0.6)  # 45 degrees: 6 mm along z are 4.2 mm from the plane
    row, column = slice(40, 60), slice(40, 60)
    for thickness, found in ((0.006, False), (0.008, True)):
        depth, inside = box(table(100, 100, steep), row, column, thickness)
        depth, other = box(depth, slice(70, 80), slice(70, 80), 0.05)  # so that something is left in any case
        mask = foreground_mask(organise(depth))[0].numpy()
        assert mask[other].all()
        assert mask[inside].all() == found == mask[inside].any()


@pytest.mark.parametrize(("side", "found"), [(5, False), (9, True)])
def test_less_than_half_a_per_cent_is_no_part(side, found):
    depth, inside = box(table(100, 100), slice(40, 40 + side), slice(40, 40 + side))
    assert (foreground_mask(organise(depth))[0].numpy() == (inside if found else True)).all()


@pytest.mark.parametrize("side", [10, 20])  # up to as much as lies in front
def test_what_lies_behind_the_plane_is_foreground_too(side):
    depth, above = box(table(80, 80), slice(20, 40), slice(20, 40))
    depth, below = box(depth, slice(45, 45 + side), slice(45, 45 + side), -0.02)
    assert (foreground_mask(organise(depth))[0].numpy() == above | below).all()


def test_distance_and_frame_are_parameters():
    depth, inside = box(table(60, 60), slice(20, 40), slice(20, 40), 0.003)
    xyz = organise(depth)
    assert torch.equal(foreground_mask(xyz), validity_mask(xyz))
    assert (foreground_mask(xyz, distance=0.001)[0].numpy() == inside).all()
    rim, inside = box(table(60, 60), slice(3, 57), slice(3, 57))
    rim[3:57, 3:57] += 0.02 * np.random.default_rng(0).random((54, 54))
    assert torch.equal(foreground_mask(organise(rim)), validity_mask(organise(rim)))
    assert (foreground_mask(organise(rim), frame=3)[0].numpy() == inside).all()


def ball(height, width, share):
    """Depth map of a ball alone: nothing behind it was measured."""
    row, column = np.mgrid[:height, :width]
    away = np.hypot(row - height / 2, column - width / 2) / (share * max(height, width))
    return np.where(away < 1, 0.6 - 0.1 * np.sqrt(np.clip(1 - away**2, 0, 1)), 0.0)


def rope(height, width):
    """Depth map of a half cylinder alone that crosses the image and so fills what is measured of the frame."""
    row = np.mgrid[:height, :width][0]
    away = abs(row - height / 2) / (0.3 * height)
    return np.where(away < 1, 0.6 - 0.03 * np.sqrt(np.clip(1 - away**2, 0, 1)), 0.0)


def stairs(height, width):
    """Depth map of a stepped block alone; its lower step is cut by the image."""
    depth = np.zeros((height, width))
    depth[20:40, :40] = 0.6
    depth[20:40, 20:40] = 0.57
    return depth


@pytest.mark.parametrize(
    "depth",
    [
        ball(60, 80, 0.3),  # the frame is empty
        ball(60, 80, 0.5),  # the frame holds a rim
        ball(60, 80, 2.0),  # all is measured, and curved
        rope(60, 80),  # three quarters of the rope lie within 5 mm of a plane, and the rest behind that
        stairs(60, 80),  # the lower step is a plane, but not one that the frame shows
        table(60, 80),  # taking it away would leave nothing
        np.full((60, 80), 0.6) + 0.1 * np.random.default_rng(0).random((60, 80)),  # noise
        box(table(60, 80), slice(20, 40), slice(20, 40), 0.004)[0],  # thinner than 5 mm
        np.zeros((60, 80)),
    ],
    ids=["ball", "cut ball", "curved", "rope", "stairs", "bare table", "noise", "thin", "empty"],
)
def test_cloud_without_a_plane_passes_unchanged(depth):
    xyz = organise(depth)
    valid = torch.from_numpy(depth > 0)[None]
    assert torch.equal(foreground_mask(xyz), valid)


def test_specks_go_and_lost_pixels_do_not_eat_the_part():
    depth, inside = box(table(100, 100), slice(30, 60), slice(30, 60))
    depth[80, 20] -= 0.05
    depth[75:77, 70:72] -= 0.05
    rng = np.random.default_rng(0)
    lost = (rng.random(depth.shape) < 0.05) & inside
    depth[lost] = 0.0
    depth[10:20, 80:90] = 0.0
    depth[15, 85] = 0.5  # a flying pixel where nothing else was measured
    mask = foreground_mask(organise(depth))[0].numpy()
    assert not mask[~inside].any()
    assert mask[inside & ~lost].mean() > 0.99


def test_part_at_the_border_of_the_image_is_not_eroded():
    depth, inside = box(table(100, 100), slice(40, 60), slice(0, 30))
    assert (foreground_mask(organise(depth))[0].numpy() == inside).all()


def test_given_mask_is_taken():
    depth, inside = box(table(60, 60), slice(20, 40), slice(20, 40))
    xyz = organise(depth)
    valid = validity_mask(xyz)
    valid[:, :30] = False
    xyz[0, :, 5, 5] = math.nan
    mask = foreground_mask(xyz, valid)[0].numpy()
    assert (mask == (inside & valid[0].numpy())).all()


def test_batch_is_its_samples():
    depths = [box(table(50, 70), slice(15, 30), slice(5, 50))[0], ball(50, 70, 0.3), np.zeros((50, 70))]
    samples = [organise(depth) for depth in depths]
    together = foreground_mask(torch.cat(samples))
    for i, sample in enumerate(samples):
        assert torch.equal(together[i : i + 1], foreground_mask(sample))
    assert torch.equal(together, foreground_mask(torch.cat(samples)))


def test_wrong_shapes_are_named():
    xyz = organise(table(40, 40))
    with pytest.raises(ValueError, match=r"`xyz` has shape .* wanted \(B, 3, H, W\)"):
        foreground_mask(xyz[0])
    with pytest.raises(ValueError, match=r"`xyz` has shape \(1, 2, 40, 40\), wanted \(B, 3, H, W\)"):
        foreground_mask(xyz[:, :2], torch.ones(1, 40, 40, dtype=torch.bool))
    with pytest.raises(ValueError, match="`valid` has shape"):
        foreground_mask(xyz, torch.ones(40, 40, dtype=torch.bool))
    with pytest.raises(ValueError, match="pass a smaller `frame`"):
        foreground_mask(xyz[..., :20])
    with pytest.raises(ValueError, match="pass a smaller `frame`"):
        foreground_mask(xyz[:, :, :20])
    assert foreground_mask(xyz[..., :21, :21]).shape == (1, 21, 21)


class _Foreground(nn.Module):
    def forward(self, xyz):
        return foreground_mask(xyz)


def test_exports_with_a_dynamic_batch():
    depths = [box(table(40, 30), slice(15, 30), slice(5, 20))[0], ball(40, 30, 0.3), np.zeros((40, 30))]
    batch = torch.cat([organise(depth) for depth in depths])
    module = _Foreground()
    program = torch.export.export(
        module, (batch[:2],), dynamic_shapes=({0: torch.export.Dim("batch")},), strict=False
    ).module()
    for count in (1, 3):
        assert torch.equal(program(batch[:count]), module(batch[:count]))
