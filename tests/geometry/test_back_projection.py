# SPDX-License-Identifier: Apache-2.0
"""Values of views on the points that they show, against loops."""

import torch

from anomalib_clip3dad.geometry.back_projection import back_project, fill_unseen, pixel_cells
from anomalib_clip3dad.geometry.renderer import rasterise
from anomalib_clip3dad.geometry.views import SCAN_ANGLES, axis_rotations

from .scenes import bumpy

SIZE = 48


def test_against_a_loop() -> None:
    maps, cells = torch.rand(2, 3, 5, 5), torch.randint(0, 25, (2, 3, 11))
    visible = torch.rand(2, 3, 11) < 0.5
    visible[0, :, 4] = False
    found = back_project(maps, cells, visible)
    for sample in range(2):
        for point in range(11):
            seen = [
                maps[sample, view].flatten()[cells[sample, view, point]]
                for view in range(3)
                if visible[sample, view, point]
            ]
            expected = sum(seen) / len(seen) if seen else torch.tensor(0.0)
            torch.testing.assert_close(found[sample, point], torch.as_tensor(expected))


def test_a_constant_on_the_views_is_that_constant_on_the_part_and_nothing_beside_it() -> None:
    _, xyz, foreground = bumpy(2, 40, 36)
    foreground = foreground.expand(1, 40, 36).clone()
    foreground[:, :, :9] = False
    raster = rasterise(xyz, foreground, axis_rotations(*SCAN_ANGLES), SIZE, camera_per_view=True)
    values = back_project(torch.full((1, 9, SIZE, SIZE), 0.25), pixel_cells(raster.positions, SIZE), raster.visible)
    seen = raster.visible.any(dim=1).reshape(1, 40, 36)
    assert seen[foreground].float().mean() > 0.95
    filled = fill_unseen(values.reshape(1, 40, 36), seen, xyz, foreground)
    torch.testing.assert_close(filled, 0.25 * foreground)


def test_a_point_lands_on_the_pixel_that_shows_it() -> None:
    _, xyz, foreground = bumpy(1, 40, 36)
    raster = rasterise(xyz, foreground.expand(1, 40, 36), torch.eye(3)[None], SIZE)
    cells = pixel_cells(raster.positions, SIZE)[0, 0]
    shown = raster.shown[0, 0].flatten().long()
    own = [point for point in range(40 * 36) if raster.visible[0, 0, point] and shown[cells[point]] == point]
    assert len(own) > 200  # most others share a pixel with a nearer one


def test_unseen_pixels_take_the_mean_of_the_smallest_square_with_a_seen_one() -> None:
    values, seen = torch.rand(2, 7, 10), torch.rand(2, 7, 10) < 0.15
    xyz, everywhere = torch.ones(2, 3, 7, 10), torch.ones(2, 7, 10, dtype=torch.bool)
    found = fill_unseen(values, seen, xyz, everywhere)
    for sample in range(2):
        for row in range(7):
            for column in range(10):
                side = 1
                while True:
                    top, left = row // side * side, column // side * side
                    square = slice(top, top + side), slice(left, left + side)
                    if seen[sample][square].any():
                        break
                    side *= 2
                expected = values[sample][square][seen[sample][square]].mean()
                torch.testing.assert_close(found[sample, row, column], expected)


def test_in_an_unorganised_cloud_the_nearest_seen_point_counts() -> None:
    xyz = torch.rand(1, 3, 1, 30)
    xyz[..., -3:] = 0  # padding
    values, seen = torch.rand(1, 1, 30), torch.rand(1, 1, 30) < 0.4
    inside = (xyz != 0).any(dim=1)
    found = fill_unseen(values, seen, xyz, inside)
    for point in range(27):
        away = (xyz[0, :, 0] - xyz[0, :, 0, point, None]).norm(dim=0).where(seen[0, 0] & inside[0, 0], 9.0)
        assert found[0, 0, point] == values[0, 0, away.argmin()]
    assert not found[..., -3:].any()


def test_nothing_seen_is_nothing_known() -> None:
    nothing = torch.zeros(1, 4, 4, dtype=torch.bool)
    assert not fill_unseen(torch.rand(1, 4, 4), nothing, torch.ones(1, 3, 4, 4), ~nothing).any()
