# SPDX-License-Identifier: Apache-2.0
"""The geometry of each category.

Each shape takes the part grid and returns the height above the table over it, (CELLS, CELLS) in millimetres, 0 = table.
All stay within 55 mm of the origin, so that a part fits the image in every pose.
"""

import numpy as np

from anomalib_clip3dad.toy.outlines import box_depth, circle_of_spots, nearest_spot, rounded, step
from anomalib_clip3dad.toy.relief import Field, Grid


def biscuit(grid: Grid) -> Field:
    """Domed disc with a scalloped edge and rows of docking holes."""
    edge = 46 + 1.1 * np.cos(24 * grid.angle)
    body = rounded(edge - grid.radius, 18 - 3 * (grid.radius / 46) ** 2, 5)
    spots = [(0.0, 0.0), *circle_of_spots(6, 15), *circle_of_spots(12, 30, 0.26)]
    holes = 3.5 * np.exp(-((nearest_spot(grid.x, grid.y, spots) / 1.7) ** 4))
    return np.maximum(body - holes, 0)


def bracket(grid: Grid) -> Field:
    """L-shaped plate with a raised rib along its outer side and countersunk bolt holes."""
    arm = box_depth(grid.x - 6, grid.y + 16, (38, 16), 4)
    leg = box_depth(grid.x + 16, grid.y - 6, (16, 38), 4)
    plate = rounded(np.maximum(arm, leg), 16, 1.5)
    rib_arm = box_depth(grid.x - 6, grid.y + 28.5, (37, 3.2), 2)
    rib_leg = box_depth(grid.x + 28.5, grid.y - 6, (3.2, 37), 2)
    ribs = rounded(np.maximum(rib_arm, rib_leg), 28, 1.5)
    bolt = nearest_spot(grid.x, grid.y, [(33.0, -12.0), (10.0, -12.0), (-12.0, 10.0), (-12.0, 33.0)])
    sunk = plate - 4 * step(7 - bolt, 3)
    return np.maximum(np.where(bolt < 4, 0, sunk), ribs)


def capsule(grid: Grid) -> Field:
    """Cylinder with round ends, one half pushed over the other."""
    axis_distance = np.hypot(np.maximum(np.abs(grid.x) - 30, 0), grid.y)
    radius = np.where(grid.x > 3, 19.0, 18.0)
    return np.where(axis_distance < radius, radius + np.sqrt(np.maximum(radius**2 - axis_distance**2, 0)), 0)


def gear(grid: Grid) -> Field:
    """Spur gear with a recessed web, lightening holes, a hub and a bore with a keyway."""
    phase = np.abs((grid.angle * 16 / (2 * np.pi)) % 1 - 0.5) * 2
    edge = 40 + 8.5 * np.clip((0.72 - phase) / 0.38, 0, 1)
    body = rounded(edge - grid.radius, 20, 1.2)
    web = step(33 - grid.radius, 2) * step(grid.radius - 17, 2)
    hub = 5 * step(15 - grid.radius, 2)
    holes = nearest_spot(grid.x, grid.y, circle_of_spots(6, 25)) < 5
    keyway = (np.abs(grid.y) < 2) & (grid.x > 0) & (grid.x < 11)
    return np.where(holes | (grid.radius < 8) | keyway, 0, np.maximum(body - 6 * web + hub, 0))


def knob(grid: Grid) -> Field:
    """Control knob: skirt, fluted body, dished top with a pointer groove."""
    skirt = rounded(42 - grid.radius, 9, 2.5)
    outline = 33 + 1.3 * np.cos(18 * grid.angle)
    dish = 3.5 * np.clip(1 - (grid.radius / 27) ** 2, 0, 1)
    body = rounded(outline - grid.radius, 34 - dish, 3)
    return np.maximum(skirt, body - 1.2 * step(pointer_depth(grid), 0.8) * (body > 20))


def pointer_depth(grid: Grid) -> Field:
    """Depth inside the knob's pointer mark in millimetres, positive on the mark."""
    return box_depth(grid.x - 20, grid.y, (10, 1.9), 1.5)


def ring(grid: Grid) -> Field:
    """Torus lying flat."""
    across = np.abs(grid.radius - 36)
    return np.where(across < 13, 13 + np.sqrt(np.maximum(13**2 - across**2, 0)), 0)


def waffle(grid: Grid) -> Field:
    """Rounded square with five by five pockets."""
    body = rounded(box_depth(grid.x, grid.y, (38, 38), 10), 21, 3)
    return np.maximum(body - 7 * waffle_pockets(grid), 0)


def waffle_pockets(grid: Grid) -> Field:
    """Where the waffle's pockets are, in [0, 1], 1 on their floor."""
    pitch = 14.6
    cell_x = (grid.x + 2.5 * pitch) % pitch - pitch / 2
    cell_y = (grid.y + 2.5 * pitch) % pitch - pitch / 2
    within = box_depth(grid.x, grid.y, (35.5, 35.5), 6) > 0
    return np.where(within, step(box_depth(cell_x, cell_y, (5.2, 5.2), 1.5), 2.2), 0)
