# SPDX-License-Identifier: Apache-2.0
import numpy as np

from anomalib_clip3dad.toy.parts import RECIPES
from anomalib_clip3dad.toy.relief import cell_of, part_grid
from anomalib_clip3dad.toy.shapes import gear

GRID = part_grid()


def test_shapes_have_the_promised_size() -> None:
    for category, recipe in RECIPES.items():
        height = recipe.shape(GRID)
        assert 15 <= height.max() <= 40, category
        assert height.min() == 0, category
        assert GRID.radius[height > 0].max() < 55, category
        extents = [np.ptp(GRID.x[height > 0]), np.ptp(GRID.y[height > 0])]
        assert 60 <= max(extents) <= 110, category


def test_heights_at_points_computed_by_hand() -> None:
    for category, points in {
        "biscuit": {(0, 0): 14.5, (7, 0): 17.93},  # in a docking hole and beside it
        "bracket": {(33, -12): 0, (-20, 36): 16, (-28.5, 0): 28, (20, 20): 0},  # bolt hole, leg, rib, table
        "capsule": {(20, 0): 38, (-20, 0): 36, (20, 10): 19 + 261**0.5},
        "gear": {(25, 0): 0, (21.65, 12.5): 14, (0, 11): 25, (0, 37): 20},  # lightening hole, web, hub, rim
        "knob": {(0, 0): 30.5, (20, 0): 31.22, (-20, 0): 32.42, (0, 38): 9},  # dish, pointer, opposite, skirt
        "ring": {(0, 0): 0, (0, 36): 26, (30, 0): 13 + 133**0.5, (0, -46): 13 + 69**0.5},
        "waffle": {(0, 0): 14, (7.3, 0): 21, (14.6, -14.6): 14},  # pockets and the ridge between them
    }.items():
        height = RECIPES[category].shape(GRID)
        for point, expected in points.items():
            row, column, _ = cell_of(*np.array(point)[:, None])
            assert abs(height[row[0], column[0]] - expected) < 0.2, (category, point)


def test_gear_has_bore_and_sixteen_teeth() -> None:
    height = gear(GRID)
    assert height[GRID.radius < 7].max() == 0
    circle = (np.abs(GRID.radius - 45) < 0.2) & (height > 0)
    filled = np.histogram(GRID.angle[circle], bins=320, range=(-np.pi, np.pi))[0] > 0
    assert np.count_nonzero(np.diff(filled.astype(int), append=int(filled[0])) == 1) == 16
