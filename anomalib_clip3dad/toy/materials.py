# SPDX-License-Identifier: Apache-2.0
"""The appearance of each category, different in detail on every part.

Each material takes a random generator, the part grid and the height over it (CELLS, CELLS) in millimetres. It returns
the linear reflectance (CELLS, CELLS, 3), not yet clipped to [0, 1].
"""

from collections.abc import Sequence

import numpy as np

from anomalib_clip3dad.toy.noise import noise, specks
from anomalib_clip3dad.toy.outlines import step
from anomalib_clip3dad.toy.relief import CELLS, Field, Grid
from anomalib_clip3dad.toy.shapes import pointer_depth, waffle_pockets

Colour = Sequence[float]


def linear(colour: Colour) -> Field:
    """Linear reflectance of a display colour.

    Args:
        colour: Red, green, blue in [0, 1], display-encoded.

    Returns:
        (3,) float32 in [0, 1].

    Example:
        >>> [round(float(c), 3) for c in linear((1.0, 0.5, 0.0))]
        [1.0, 0.218, 0.0]
    """
    return np.asarray(colour, dtype=np.float32) ** np.float32(2.2)


def mix(under: Field, over: Field, weight: Field) -> Field:
    """Paint one colour over another.

    Args:
        under: (3,) or (N, N, 3).
        over: (3,) or (N, N, 3).
        weight: (N, N), clipped to [0, 1]; 1 = only ``over`` shows.

    Returns:
        (N, N, 3) float32.
    """
    share = np.clip(weight, 0, 1).astype(np.float32)[..., None]
    return under + share * (over - under)


def biscuit(rng: np.random.Generator, grid: Grid, height: Field) -> Field:
    """Baked dough: browner towards the rim and on top, dark and pale crumbs."""
    blotches = noise(rng, 3, 40)
    baked = (grid.radius / 46) ** 3 * 0.75 + 0.16 * blotches + 0.12
    dough = mix(linear((0.87, 0.70, 0.45)), linear((0.62, 0.38, 0.17)), baked)
    dough = mix(dough, linear((0.42, 0.24, 0.11)), 0.75 * specks(rng, 1.6, 0.04))
    dough = mix(dough, linear((0.97, 0.88, 0.68)), 0.5 * specks(rng, 1.2, 0.05))
    return mix(dough, linear((0.50, 0.30, 0.13)), 0.6 * ((height < 13.5) & (grid.radius < 38)))


def bracket(rng: np.random.Generator, grid: Grid, height: Field) -> Field:
    """Mustard powder coat with a fine orange peel."""
    del grid, height
    coat = mix(linear((0.83, 0.64, 0.14)), linear((0.72, 0.52, 0.10)), 0.5 + 0.3 * noise(rng, 0.8, 6))
    return mix(coat, linear((0.90, 0.75, 0.30)), 0.35 * specks(rng, 1.0, 0.08))


def capsule(rng: np.random.Generator, grid: Grid, height: Field) -> Field:
    """Two-coloured gelatine, cream and red, with two printed bands on the cream half."""
    del height
    shell = mix(linear((0.90, 0.85, 0.74)), linear((0.74, 0.13, 0.14)), step(grid.x - 3, 0.5))
    bands = step(1.6 - np.abs(np.abs(grid.x + 19) - 4), 0.5)
    shell = mix(shell, linear((0.20, 0.32, 0.55)), 0.9 * bands * (0.9 + 0.15 * noise(rng, 0.8, 3)))
    return shell * (1 + 0.06 * noise(rng, 1.0, 25))[..., None]


def gear(rng: np.random.Generator, grid: Grid, height: Field) -> Field:
    """Turned steel: grooves run round the axis, a bluish stain here and there, dark oil in the web."""
    field = noise(rng, 0.7, 6, slope=0.5)
    row = (grid.radius * 3).astype(np.intp) % CELLS
    column = ((grid.angle / (2 * np.pi) + 0.5) * (CELLS - 1)).astype(np.intp) // 8
    steel = mix(linear((0.66, 0.67, 0.69)), linear((0.50, 0.51, 0.54)), 0.5 + 0.28 * field[row, column])
    steel = mix(steel, linear((0.52, 0.55, 0.66)), 0.25 + 0.25 * noise(rng, 5, 40))
    return mix(steel, linear((0.34, 0.33, 0.32)), 0.45 * (height < 17) + 0.08 * noise(rng, 1.0, 8))


def knob(rng: np.random.Generator, grid: Grid, height: Field) -> Field:
    """Blue moulded plastic with flow marks and a white pointer."""
    plastic = mix(linear((0.16, 0.36, 0.62)), linear((0.24, 0.46, 0.72)), 0.5 + 0.25 * noise(rng, 1.0, 20, stretch=3))
    plastic = mix(plastic, linear((0.45, 0.62, 0.82)), 0.4 * specks(rng, 1.0, 0.03))
    return mix(plastic, linear((0.93, 0.93, 0.90)), step(pointer_depth(grid), 0.6) * (height > 20))


def ring(rng: np.random.Generator, grid: Grid, height: Field) -> Field:
    """Beech wood: growth lines along x that wander, short dark pores."""
    del height
    wander = 2.5 * noise(rng, 12, 70) + 0.25 * noise(rng, 1.0, 8, stretch=5)
    lines = 0.5 + 0.5 * np.sin(2 * np.pi * (grid.y + wander) / 7.5)
    wood = mix(linear((0.84, 0.64, 0.42)), linear((0.63, 0.40, 0.22)), 0.75 * lines**2 + 0.07 * noise(rng, 0.7, 5))
    pores = noise(rng, 0.7, 4, slope=0.0, stretch=6)
    return mix(wood, linear((0.42, 0.25, 0.13)), 0.6 * (pores > 1.9))


def waffle(rng: np.random.Generator, grid: Grid, height: Field) -> Field:
    """Golden batter: ridges browned by the iron, pockets paler, brown freckles."""
    del height
    pockets = waffle_pockets(grid)
    browned = 0.62 - 0.5 * pockets + 0.2 * noise(rng, 2, 35)
    batter = mix(linear((0.93, 0.77, 0.42)), linear((0.70, 0.42, 0.14)), browned)
    return mix(batter, linear((0.50, 0.27, 0.10)), 0.55 * specks(rng, 1.8, 0.06))


def table(rng: np.random.Generator) -> Field:
    """The mat under every part: plain charcoal with a faint weave, (CELLS, CELLS, 3), periodic."""
    weave = noise(rng, 0.9, 5, slope=0.3)
    clouds = noise(rng, 20, 120)
    return linear((0.23, 0.24, 0.26)) * np.clip(1 + 0.10 * weave + 0.06 * clouds, 0.5, 1.5)[..., None]
