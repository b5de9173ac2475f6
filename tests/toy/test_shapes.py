# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from anomalib_clip3dad.toy.parts import RECIPES
from anomalib_clip3dad.toy.relief import part_grid
from anomalib_clip3dad.toy.shapes import gear, pointer_depth, ring, waffle, waffle_pockets

GRID = part_grid()


@pytest.mark.parametrize("category", RECIPES)
def test_shapes_have_the_promised_size(category: str) -> None:
    height = RECIPES[category].shape(GRID)
    assert 15 <= height.max() <= 40
    assert height.min() == 0
    assert GRID.radius[height > 0].max() < 55
    extents = [np.ptp(GRID.x[height > 0]), np.ptp(GRID.y[height > 0])]
    assert 60 <= max(extents) <= 110


def test_shapes_differ() -> None:
    solids = [RECIPES[category].shape(GRID) > 0 for category in RECIPES]
    heights = [RECIPES[category].shape(GRID) for category in RECIPES]
    for i in range(len(solids)):
        for j in range(i):
            assert np.abs(heights[i] - heights[j]).mean() > 0.5


def test_gear_has_bore_and_sixteen_teeth() -> None:
    height = gear(GRID)
    assert height[GRID.radius < 7].max() == 0
    circle = (np.abs(GRID.radius - 45) < 0.2) & (height > 0)
    filled = np.histogram(GRID.angle[circle], bins=320, range=(-np.pi, np.pi))[0] > 0
    assert np.count_nonzero(np.diff(filled.astype(int), append=int(filled[0])) == 1) == 16


def test_ring_is_a_torus() -> None:
    height = ring(GRID)
    assert height[GRID.radius < 22].max() == 0
    crest = height[np.abs(GRID.radius - 36) < 0.2]
    np.testing.assert_allclose(crest, 26, atol=0.05)


def test_waffle_has_deep_pockets() -> None:
    pockets = waffle_pockets(GRID)
    assert waffle(GRID)[pockets == 1].max() <= 14 + 1e-4
    assert 0.2 < pockets[np.maximum(np.abs(GRID.x), np.abs(GRID.y)) < 35].mean() < 0.7


def test_pointer_points_along_x() -> None:
    on_mark = pointer_depth(GRID) > 0
    assert GRID.x[on_mark].min() > 0
    assert np.ptp(GRID.x[on_mark]) > 4 * np.ptp(GRID.y[on_mark])
