# SPDX-License-Identifier: Apache-2.0
"""Toy parts as a height map and a colour map on a square patch of table.

The part frame is in millimetres: x and y lie in the table plane, z is the height above it; the table has height 0.
A map of heights is enough because a scanner that looks from above never sees under an overhang, and it makes every
defect an edit of two arrays.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]

CELLS = 512
CELL_MM = 0.3  # a pixel of a 240 x 240 image covers about 0.7 mm: finer detail than this is never seen


class Relief(NamedTuple):
    """A part on the table, part frame.

    Args:
        height: (CELLS, CELLS) millimetres above the table, 0 where the table shows.
        albedo: (CELLS, CELLS, 3) linear reflectance in [0, 1]; that of the visible table is added later.
        gloss: Strength of the highlight, 0 = matt.
    """

    height: Field
    albedo: Field
    gloss: float


class Grid(NamedTuple):
    """Coordinates of every cell, each (CELLS, CELLS): x, y, radius in millimetres, angle in (-pi, pi]."""

    x: Field
    y: Field
    radius: Field
    angle: Field


def part_grid(scale: float = 1.0) -> Grid:
    """Coordinates of the cells' centres.

    Args:
        scale: Divisor of the coordinates, so that a shape drawn on them is ``scale`` times as large.

    Returns:
        The grid, origin in the middle of the patch.

    Example:
        >>> float(part_grid().x[0, -1])
        76.6500015258789
    """
    ticks = ((np.arange(CELLS) - (CELLS - 1) / 2) * CELL_MM / scale).astype(np.float32)
    x, y = np.meshgrid(ticks, ticks)
    return Grid(x, y, np.hypot(x, y), np.arctan2(y, x))


def cell_of(x: Field, y: Field) -> tuple[NDArray[np.intp], NDArray[np.intp], Mask]:
    """Find the cell that each point of the part frame falls into.

    Args:
        x: (...) millimetres.
        y: (...) millimetres.

    Returns:
        Row and column, (...) each, wrapped into [0, CELLS) so that periodic textures continue outside the patch, and
        whether the point is on the patch itself.
    """
    column = np.rint(x / CELL_MM + (CELLS - 1) / 2).astype(np.intp)
    row = np.rint(y / CELL_MM + (CELLS - 1) / 2).astype(np.intp)
    inside = (column >= 0) & (column < CELLS) & (row >= 0) & (row < CELLS)
    return row % CELLS, column % CELLS, inside
