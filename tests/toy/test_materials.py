# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from anomalib_clip3dad.toy.materials import mix, table
from anomalib_clip3dad.toy.parts import RECIPES
from anomalib_clip3dad.toy.relief import CELLS, Field, part_grid


def _paint(category: str, seed: int) -> tuple[Field, Field]:
    grid = part_grid()
    height = RECIPES[category].shape(grid)
    return RECIPES[category].material(np.random.default_rng(seed), grid, height), height > 0


@pytest.mark.parametrize("category", RECIPES)
def test_texture_is_individual_but_the_category_keeps_its_look(category: str) -> None:
    (one, solid), (other, _) = _paint(category, 0), _paint(category, 1)
    assert one.shape == (CELLS, CELLS, 3)
    assert not np.array_equal(one, other)
    np.testing.assert_allclose(one[solid].mean(axis=0), other[solid].mean(axis=0), atol=0.05)
    assert one[solid].std(axis=0).max() > 0.01  # there is a texture to look at


@pytest.mark.parametrize("category", RECIPES)
def test_parts_stand_out_from_the_table(category: str) -> None:
    albedo, solid = _paint(category, 0)
    mat = table(np.random.default_rng(0))
    assert np.abs(albedo[solid].mean(axis=0) - mat.mean(axis=(0, 1))).max() > 0.1


def test_mix_clips_its_weight() -> None:
    black, white = np.zeros(3, dtype=np.float32), np.ones(3, dtype=np.float32)
    np.testing.assert_allclose(mix(black, white, np.array([[-1.0, 0.25, 2.0]]))[0, :, 0], [0, 0.25, 1])
