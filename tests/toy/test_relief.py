# SPDX-License-Identifier: Apache-2.0
import numpy as np

from anomalib_clip3dad.toy.relief import CELL_MM, CELLS, cell_of, part_grid


def test_grid_is_centred_and_metric() -> None:
    grid = part_grid()
    assert abs(float(grid.x.mean())) < 1e-4
    np.testing.assert_allclose(np.diff(grid.x[0]), CELL_MM, atol=1e-5)
    np.testing.assert_allclose(grid.x.T, grid.y)
    np.testing.assert_allclose(grid.radius * np.cos(grid.angle), grid.x, atol=1e-4)


def test_larger_scale_makes_shapes_larger() -> None:
    assert np.count_nonzero(part_grid(1.1).radius < 30) > np.count_nonzero(part_grid(1.0).radius < 30)


def test_cell_of_finds_the_nearest_centre() -> None:
    grid = part_grid()
    row, column, inside = cell_of(grid.x + 0.1, grid.y - 0.1)  # a third of a cell
    assert inside.all()
    np.testing.assert_array_equal(row, np.arange(CELLS)[:, None].repeat(CELLS, 1))
    np.testing.assert_array_equal(column.T, row)


def test_cell_of_wraps_beyond_the_patch() -> None:
    beyond = part_grid().x[0, -1] + CELL_MM
    row, column, inside = cell_of(beyond * np.array([1, -1, 0, 0]), beyond * np.array([0, 0, 1, -1]))
    assert column[:2].tolist() == row[2:].tolist() == [0, CELLS - 1]
    assert not inside.any()
