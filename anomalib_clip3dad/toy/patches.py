# SPDX-License-Identifier: Apache-2.0
"""Places of defects: fields over the part grid, 1 at the centre of a patch, 0 on its outline, negative outside."""

import numpy as np

from anomalib_clip3dad.toy.noise import noise
from anomalib_clip3dad.toy.relief import CELL_MM, Field, part_grid


def blob(rng: np.random.Generator, centre: tuple[float, float], area: float, ragged: float = 0.12) -> Field:
    """Draw an irregular ellipse, up to twice as long as wide.

    Args:
        rng: Source of direction, proportions and outline.
        centre: (x, y) in part millimetres.
        area: Approximate area in square millimetres.
        ragged: Deviation of the outline, relative to the radius.

    Returns:
        (CELLS, CELLS), 1 - (distance from the centre / distance of the outline).
    """
    turn, longer = rng.uniform(0, np.pi), np.sqrt(rng.uniform(1, 2))
    radius = np.sqrt(area / np.pi)
    along, across = _turned(centre, turn)
    reach = np.hypot(along / (radius * longer), across * longer / radius)
    outline = np.clip(noise(rng, 1.2 * radius, 5 * radius), -2, 2)  # rare larger values would split off islands
    return 1 - reach * (1 + ragged * outline)


def stroke(rng: np.random.Generator, centre: tuple[float, float], area: float, width: float, jag: float) -> Field:
    """Draw an irregular line that thins out at both ends.

    Args:
        rng: Source of direction and course.
        centre: (x, y) in part millimetres, the middle of the line.
        area: Approximate area in square millimetres.
        width: Width in the middle of the line, millimetres.
        jag: Largest sideways deviation of a bend, millimetres.

    Returns:
        (CELLS, CELLS), 1 on the axis of the line, 0 at its edge.
    """
    length = area / (0.8 * width)
    along, across = _turned(centre, rng.uniform(0, np.pi))
    knots = np.linspace(-length / 2, length / 2, max(int(length / 7), 3) + 1)
    course = np.interp(along, knots, rng.uniform(-jag, jag, len(knots)))
    half_width = width / 2 * np.sqrt(np.maximum(1 - (2 * along / length) ** 2, 1e-2))
    return np.where(np.abs(along) < length / 2, 1 - np.abs(across - course) / half_width, -1)


def rim(rng: np.random.Generator, height: Field, area: float) -> Field:
    """Select the outer end of the part on one side, beyond a nearly straight line.

    Args:
        rng: Source of the side and of the line's waviness.
        height: (CELLS, CELLS) millimetres; the part is where it is positive.
        area: Area of the part beyond the line, square millimetres.

    Returns:
        (CELLS, CELLS), 0 on the line, 1 at the farthest point of the part, negative on the other side.
    """
    outward = _turned((0.0, 0.0), rng.uniform(0, 2 * np.pi))[0] + 0.5 * noise(rng, 2, 15)
    ordered = np.sort(outward[height > 0])
    line = ordered[-max(int(area / CELL_MM**2), 2)]
    return (outward - line) / (ordered[-1] - line)


def _turned(centre: tuple[float, float], turn: float) -> tuple[Field, Field]:
    grid = part_grid()
    x, y = grid.x - np.float32(centre[0]), grid.y - np.float32(centre[1])
    cosine, sine = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    return cosine * x + sine * y, cosine * y - sine * x
