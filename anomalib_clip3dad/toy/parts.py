# SPDX-License-Identifier: Apache-2.0
"""The categories, each with one shape, one material and one unevenness."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from anomalib_clip3dad.errors import InputError
from anomalib_clip3dad.toy import materials, shapes
from anomalib_clip3dad.toy.noise import noise
from anomalib_clip3dad.toy.relief import Field, Grid, Relief, part_grid


class Recipe(NamedTuple):
    """Recipe of a category.

    Args:
        shape: Function for the height over the grid.
        material: Function for the linear colour over the grid.
        rough: Standard deviation of the natural unevenness in millimetres.
        grain: Shortest wavelength of that unevenness in millimetres.
        gloss: Strength of the highlight.
    """

    shape: Callable[[Grid], Field]
    material: Callable[[np.random.Generator, Grid, Field], Field]
    rough: float
    grain: float
    gloss: float


# Unevenness stays well below the 2.5 mm of the smallest defect; food is rougher than metal and plastic.
RECIPES: dict[str, Recipe] = {
    "biscuit": Recipe(shapes.biscuit, materials.biscuit, 0.22, 2.0, 0.0),
    "bracket": Recipe(shapes.bracket, materials.bracket, 0.05, 1.0, 0.10),
    "capsule": Recipe(shapes.capsule, materials.capsule, 0.04, 8.0, 0.35),
    "gear": Recipe(shapes.gear, materials.gear, 0.04, 2.0, 0.25),
    "knob": Recipe(shapes.knob, materials.knob, 0.03, 4.0, 0.20),
    "ring": Recipe(shapes.ring, materials.ring, 0.08, 4.0, 0.06),
    "waffle": Recipe(shapes.waffle, materials.waffle, 0.25, 2.5, 0.03),
}

CATEGORIES: tuple[str, ...] = tuple(RECIPES)


def check_category(category: str) -> None:
    """Raise if a name is not a toy category.

    Raises:
        ValueError: If there is no such category; the message lists all.
    """
    if category not in RECIPES:
        msg = f"Toy3D has no category {category!r}; choose one of {', '.join(CATEGORIES)}."
        raise InputError(msg)


def build_part(category: str, rng: np.random.Generator) -> Relief:
    """Build one normal part; parts of a category vary as little as mass-produced ones do.

    Args:
        category: One of ``CATEGORIES``.
        rng: Source of the variation: size (+-1.5 %), tint (+-4 %), unevenness, grain of the texture.

    Returns:
        The part in the part frame.

    Raises:
        ValueError: If there is no such category.

    Example:
        >>> part = build_part("gear", np.random.default_rng(0))
        >>> 15 < float(part.height.max()) < 40
        True
    """
    check_category(category)
    recipe = RECIPES[category]
    grid = part_grid(rng.uniform(0.985, 1.015))
    height = recipe.shape(grid).astype(np.float32)
    albedo = recipe.material(rng, grid, height) * rng.uniform(0.96, 1.04, 3).astype(np.float32)
    uneven = recipe.rough * noise(rng, recipe.grain, 40)
    return Relief(np.where(height > 0, np.maximum(height + uneven, 0.5), 0), np.clip(albedo, 0, 1), recipe.gloss)
