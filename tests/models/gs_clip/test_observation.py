# SPDX-License-Identifier: Apache-2.0
"""What is seen of a part from all sides."""

import torch

from anomalib_clip3dad.geometry.back_projection import pixel_cells
from anomalib_clip3dad.geometry.paints import paint_points
from anomalib_clip3dad.geometry.renderer import draw_points, rasterise
from anomalib_clip3dad.geometry.views import SCAN_ANGLES, axis_rotations
from anomalib_clip3dad.models.gs_clip.observation import as_rgb, observe
from tests.conftest import bumpy_part

SIZE = 64
ROTATIONS = axis_rotations(*SCAN_ANGLES)


def part() -> tuple[torch.Tensor, torch.Tensor]:
    xyz = bumpy_part(48, 48)[1][None]
    return xyz, xyz[:, 2] > 0


def test_all_paints_are_of_one_rasterisation() -> None:
    xyz, inside = part()
    seen = observe(xyz, inside, ROTATIONS, SIZE)
    raster = rasterise(xyz, inside, ROTATIONS, SIZE, camera_per_view=True)
    for paint, found in (("grey", seen.shaded), ("depth", seen.depth)):
        values = paint_points(paint, xyz, xyz, inside, raster.turned, ROTATIONS, raster.camera)
        assert torch.equal(found, draw_points(values, raster.shown))
    assert torch.equal(seen.cells, pixel_cells(raster.positions, SIZE))
    assert torch.equal(seen.visible, raster.visible)


def test_the_longest_side_spans_71_percent_of_every_view() -> None:
    """Section 13, check 7; the camera of each view is placed in front of the turned cloud."""
    xyz, inside = part()
    shown = observe(xyz, inside, ROTATIONS, 336).shown[0] < 48 * 48
    for angle, view in zip((*SCAN_ANGLES[0], *SCAN_ANGLES[1]), shown, strict=True):
        spans = [int(view.any(dim=axis).nonzero().max() - view.any(dim=axis).nonzero().min()) for axis in (0, 1)]
        assert max(spans) > 0.5 * 336
        # a side that is nearer than the centre of the box looks longer; seen from the front, none is by much
        assert angle or 0.68 * 336 < max(spans) < 0.8 * 336


def test_turning_the_cloud_is_turning_the_view() -> None:
    xyz, inside = part()
    turned = ROTATIONS[1]
    # a camera is at +z, so the turned cloud stays in front of the sensor
    centre = xyz.where(inside[:, None], 0.0).sum((2, 3)) / inside.sum()
    moved = torch.einsum("ij,bjhw->bihw", turned, xyz - centre[..., None, None]) + centre[..., None, None]
    one = rasterise(xyz, inside, turned[None], SIZE, spacing=torch.tensor([4e-3]), camera_per_view=True)
    other = rasterise(moved, inside, torch.eye(3)[None], SIZE, spacing=torch.tensor([4e-3]), camera_per_view=True)
    assert (one.shown == other.shown).float().mean() > 0.97  # the centres differ by rounding to 1/8192 m


def test_the_truth_is_drawn_where_its_points_are_shown() -> None:
    xyz, inside = part()
    mask = torch.zeros_like(inside)
    mask[:, 20:28, 18:30] = True
    seen = observe(xyz, inside, ROTATIONS, SIZE)
    truth = seen.truth(mask)
    expected = [[index < 48 * 48 and bool(mask.flatten()[index]) for index in view.flatten()] for view in seen.shown[0]]
    assert truth[0].flatten(1).tolist() == expected
    assert truth.any(dim=(2, 3)).all()


def test_a_list_of_points_is_seen_as_the_grid_is_and_in_any_unit() -> None:
    xyz, inside = part()
    listed, there = xyz.reshape(1, 3, 1, -1), inside.reshape(1, 1, -1)
    grid, points = observe(xyz, inside, ROTATIONS, SIZE), observe(listed, there, ROTATIONS, SIZE)
    drawn = [(of.shown < 48 * 48) for of in (grid, points)]
    assert (drawn[0] == drawn[1]).float().mean() > 0.97
    both = (drawn[0] & drawn[1])[:, :, None]
    # normals of 30 neighbours in space are not those of a window of pixels
    assert (grid.shaded - points.shaded)[both].abs().mean() < 0.05
    assert points.shaded[both].std() > 0.02
    larger = observe(4096 * listed, there, ROTATIONS, SIZE)
    assert (larger.shown == points.shown).float().mean() > 0.99
    torch.testing.assert_close(larger.shaded, points.shaded, atol=0.05, rtol=0.5)


def test_padding_is_no_point() -> None:
    xyz, inside = part()
    listed = torch.nn.functional.pad(xyz.reshape(1, 3, 1, -1), (0, 50))
    there = torch.nn.functional.pad(inside.reshape(1, 1, -1), (0, 50))
    padded, plain = (observe(listed[..., :end], there[..., :end], ROTATIONS, SIZE) for end in (48 * 48 + 50, 48 * 48))
    assert torch.equal(padded.shaded, plain.shaded)
    assert not padded.visible[..., 48 * 48 :].any()


def test_views_become_images() -> None:
    views = torch.rand(2, 3, 1, 5, 5)
    found = as_rgb(views)
    assert found.shape == (6, 3, 5, 5)
    assert torch.equal(found[4, 2], views[1, 1, 0])
