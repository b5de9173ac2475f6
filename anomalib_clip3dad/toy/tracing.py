# SPDX-License-Identifier: Apache-2.0
"""Intersection of viewing rays with a height map."""

from typing import NamedTuple

import numpy as np

from anomalib_clip3dad.toy.pinhole import Pose, to_part
from anomalib_clip3dad.toy.relief import CELL_MM, CELLS, Field, Mask

_MARCH_MM = 1.2  # rays lean by less than 25 degrees, so a step moves a ray sideways by less than a pixel
_HALVINGS = 10


class Hit(NamedTuple):
    """First point that each ray hits: depth z (...) in metres, and x and y (...) in part millimetres."""

    z: Field
    x: Field
    y: Field


def _height_at(height: Field, column: Field, row: Field) -> Field:
    """Bilinear height at fractional cells, (n,) each; cells outside the patch count as table (height 0)."""
    left = np.clip(np.floor(column), 0, CELLS - 2).astype(np.int32)
    upper = np.clip(np.floor(row), 0, CELLS - 2).astype(np.int32)
    across, down = column - left, row - upper
    flat, at = height.ravel(), upper * CELLS + left
    top = flat[at] + across * (flat[at + 1] - flat[at])
    bottom = flat[at + CELLS] + across * (flat[at + CELLS + 1] - flat[at + CELLS])
    return top + down * (bottom - top)


class _Rays(NamedTuple):
    """Rays as lines over the cells: column = column0 + lean_column * height, and rows likewise; (n,) float32 each."""

    column: Field
    row: Field
    lean_column: Field
    lean_row: Field

    def at(self, level: Field | np.float32) -> tuple[Field, Field]:
        return self.column + self.lean_column * level, self.row + self.lean_row * level

    def only(self, chosen: Mask) -> "_Rays":
        return _Rays(*(values[chosen] for values in self))


def _meeting_height(height: Field, rays: _Rays) -> Field:
    """Height in millimetres at which each ray first hits the surface, (n,) float32."""
    flat = height.ravel()
    found = np.zeros(len(rays.column), dtype=np.float32)  # a ray that hits nothing on its way down hits the table
    searching, rest = np.arange(len(found)), rays
    # The levels do not depend on this part's height, so that twins hit an unchanged wall at exactly the same point.
    for level in np.arange(int(height.max() / _MARCH_MM), 0, -1, dtype=np.float32) * np.float32(_MARCH_MM):
        column, row = rest.at(level)
        cell = np.rint(row).astype(np.int32) * CELLS + np.rint(column).astype(np.int32)
        met = flat.take(cell, mode="clip") >= level
        found[searching[met]] = level
        searching, rest = searching[~met], rest.only(~met)
    # The march uses whole cells, the refinement interpolates: on a slope they may differ by one step.
    low, high = np.maximum(found - np.float32(_MARCH_MM), 0), found + np.float32(2 * _MARCH_MM)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        below = _height_at(height, *rays.at(middle)) >= middle
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return low


def _may_meet(start: Field, sway: Field, occupied: Mask) -> Mask:
    """Rays that pass over the part's extent along one axis; start and sway (n,) in cells, occupied (CELLS,)."""
    first, last = np.flatnonzero(occupied)[[0, -1]]
    end = start + sway
    return (np.maximum(start, end) > first - 2) & (np.minimum(start, end) < last + 2)


def trace(height: Field, pose: Pose, directions: Field) -> Hit:
    """Find where rays hit a part, or the table beside it.

    Args:
        height: (CELLS, CELLS) millimetres, positive in at least one cell.
        pose: Pose of the part.
        directions: (..., 3), directions of the rays in the camera frame, z = 1.

    Returns:
        The first hit of each ray, exactly on the ray and within 0.005 mm of the surface.
    """
    centre, rays = to_part(pose, directions)
    fall = rays[..., 2]
    lean_x, lean_y = rays[..., 0] / fall, rays[..., 1] / fall
    x, y = centre[0] - lean_x * centre[2], centre[1] - lean_y * centre[2]
    middle = (CELLS - 1) / 2
    lines = _Rays(x / CELL_MM + middle, y / CELL_MM + middle, lean_x / CELL_MM, lean_y / CELL_MM)
    near = _may_meet(lines.column, lines.lean_column * height.max(), height.max(axis=0) > 0)
    near &= _may_meet(lines.row, lines.lean_row * height.max(), height.max(axis=1) > 0)
    level = np.zeros(fall.shape)
    level[near] = _meeting_height(height, _Rays(*(line[near].astype(np.float32) for line in lines)))
    return Hit((level - centre[2]) / fall, x + lean_x * level, y + lean_y * level)
