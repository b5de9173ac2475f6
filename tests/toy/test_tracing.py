# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from anomalib_clip3dad.toy.pinhole import Pose, draw_pose, pixel_rays, to_part, toy_camera
from anomalib_clip3dad.toy.relief import CELL_MM, CELLS, Field, part_grid
from anomalib_clip3dad.toy.shapes import gear
from anomalib_clip3dad.toy.tracing import trace

SIZE = (40, 48)
RAYS = pixel_rays(toy_camera(SIZE), SIZE)


def _distance_to_sphere(pose: Pose, radius: float) -> Field:
    """z at which the rays enter a sphere round the part frame's origin, in metres; nan where they miss it."""
    centre, rays = to_part(pose, RAYS)
    half_b, square = rays @ centre, (rays**2).sum(axis=-1)
    with np.errstate(invalid="ignore"):
        return (-half_b - np.sqrt(half_b**2 - square * (centre @ centre - radius**2))) / square


def test_hemisphere_and_plane_agree_with_the_formula() -> None:
    pose = draw_pose(np.random.default_rng(0))
    height = np.sqrt(np.maximum(35**2 - part_grid().radius ** 2, 0)).astype(np.float32)
    hit = trace(height, pose, RAYS)
    centre, rays = to_part(pose, RAYS)
    sphere, plane = _distance_to_sphere(pose, 35.0), -centre[2] / rays[..., 2]
    # round the equator the cells' steps are higher than the tolerance
    clear = ~(np.abs(np.hypot(hit.x, hit.y) - 35) < 3)
    expected = np.where(np.isnan(sphere) | (centre[2] + rays[..., 2] * sphere < 0), plane, sphere)
    np.testing.assert_allclose(hit.z[clear], expected[clear], atol=5e-5)
    assert np.count_nonzero(clear & (expected == sphere)) > 200
    assert np.count_nonzero(clear & (expected == plane)) > 200


RIDGE = np.where(np.abs(part_grid().x) < 0.7, 30, 0).astype(np.float32)  # two pixels thick
GEAR = gear(part_grid()).astype(np.float32)


@pytest.mark.parametrize("height", [GEAR, RIDGE], ids=["gear", "ridge"])
def test_agrees_with_a_slow_march(height: Field) -> None:
    pose = draw_pose(np.random.default_rng(1))
    hit = trace(height, pose, RAYS)
    centre, rays = to_part(pose, RAYS)
    depth = (31.0 - centre[2]) / rays[..., 2]
    travelling = np.ones(SIZE, dtype=bool)
    while travelling.any():
        point = centre + rays * depth[..., None]
        cells = [point[..., axis] / CELL_MM + (CELLS - 1) / 2 for axis in (1, 0)]
        travelling &= point[..., 2] > map_coordinates(height, cells, order=1)
        depth[travelling] += 5e-5
    raised = np.minimum(hit.z, depth) < -centre[2] / rays[..., 2] - 0.001
    agree = np.abs(hit.z - depth) < 1e-4
    assert agree[~raised].all()
    assert agree[raised].mean() > 0.97  # the rest grazes an edge by less than a cell


def test_meeting_point_lies_on_the_ray() -> None:
    pose, height = draw_pose(np.random.default_rng(2)), GEAR
    hit = trace(height, pose, RAYS)
    centre, rays = to_part(pose, RAYS)
    point = centre + rays * hit.z[..., None]
    np.testing.assert_allclose(point[..., :2], np.stack([hit.x, hit.y], axis=-1), atol=1e-6)


def test_an_edit_moves_only_the_rays_that_see_it() -> None:
    pose, height = draw_pose(np.random.default_rng(3)), GEAR
    grid = part_grid()
    edited = height + 6 * (np.hypot(grid.x, grid.y - 37) < 2) * (height > 0)
    before, after = trace(height, pose, RAYS), trace(edited.astype(np.float32), pose, RAYS)
    moved = before.z != after.z
    assert moved.any()
    assert np.hypot(after.x, after.y - 37)[moved].max() < 4
