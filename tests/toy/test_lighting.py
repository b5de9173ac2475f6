# SPDX-License-Identifier: Apache-2.0
import numpy as np

from anomalib_clip3dad.toy.lighting import (
    draw_light,
    exposure,
    lit_colour,
    paint_table,
    shadow_depth,
    table_brightness,
)
from anomalib_clip3dad.toy.pinhole import draw_pose
from anomalib_clip3dad.toy.relief import CELLS, Relief, part_grid

GRID = part_grid()
BLOCK = np.where(np.maximum(np.abs(GRID.x), np.abs(GRID.y)) < 10, 20, 0).astype(np.float32)


def test_a_block_throws_its_shadow_away_from_the_lamp() -> None:
    shadow = shadow_depth(BLOCK, np.array([-1.0, 0.0, 1.0]))  # lamp at 45 degrees on the side of -x
    along = shadow[CELLS // 2] > 0
    assert abs(float(GRID.x[0][along].min()) - 10) < 1.5
    assert abs(float(GRID.x[0][along].max()) - 30) < 1.5
    assert not (shadow[np.abs(GRID.y) > 11] > 0).any()


def test_shadows_do_not_wrap_round_the_patch() -> None:
    at_the_edge = np.where((GRID.x > 65) & (GRID.x < 72), 30, 0).astype(np.float32)
    shadow = shadow_depth(at_the_edge, np.array([-1.0, 0.0, 1.0]))
    assert shadow[GRID.x < 60].max() == 0
    assert shadow[(GRID.x > 73) & (GRID.x < 75)].min() > 0


def test_lamp_is_above_the_table(rng: np.random.Generator) -> None:
    for _ in range(50):
        light, pose = draw_light(rng), draw_pose(rng)
        assert np.isclose(np.linalg.norm(light.towards), 1)
        assert (light.towards @ pose.rotation)[2] > 0.6


def test_bare_table_is_lit_evenly_and_as_bright_as_beyond_the_patch(rng: np.random.Generator) -> None:
    light, pose = draw_light(rng), draw_pose(rng)
    flat = Relief(np.zeros((CELLS, CELLS), dtype=np.float32), np.ones((CELLS, CELLS, 3), dtype=np.float32), 0.5)
    colour = lit_colour(flat, exposure(flat.height, light, pose), light, pose)
    np.testing.assert_allclose(colour, np.broadcast_to(table_brightness(light, pose), colour.shape), atol=1e-5)


def test_walls_towards_the_lamp_are_brighter(rng: np.random.Generator) -> None:
    light, pose = draw_light(rng), draw_pose(rng)
    dome = np.sqrt(np.maximum(30**2 - GRID.radius**2, 0)).astype(np.float32)
    relief = Relief(dome, np.ones((CELLS, CELLS, 3), dtype=np.float32), 0.0)
    colour = lit_colour(relief, exposure(dome, light, pose), light, pose)[..., 1]
    lamp = light.towards @ pose.rotation
    side = (GRID.x * lamp[0] + GRID.y * lamp[1]) / np.hypot(lamp[0], lamp[1])
    on_dome = GRID.radius < 28
    assert colour[on_dome & (side > 15)].mean() > 1.5 * colour[on_dome & (side < -15)].mean()


def test_hollows_get_less_ambient_light(rng: np.random.Generator) -> None:
    _, ambient = exposure(20 - BLOCK, draw_light(rng), draw_pose(rng))
    assert ambient[BLOCK > 0].mean() < 0.8
    assert ambient[GRID.radius > 40].min() > 0.99


def test_paint_table_keeps_the_part() -> None:
    relief = Relief(BLOCK, np.ones((CELLS, CELLS, 3), dtype=np.float32), 0.0)
    painted = paint_table(relief, np.zeros((CELLS, CELLS, 3), dtype=np.float32)).albedo
    np.testing.assert_array_equal(painted[..., 0] == 1, BLOCK > 0)
