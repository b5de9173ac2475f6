# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from anomalib_clip3dad.toy.materials import table
from anomalib_clip3dad.toy.parts import CATEGORIES, build_part, check_category
from anomalib_clip3dad.toy.relief import Relief


@pytest.fixture(scope="module")
def siblings() -> dict[str, list[Relief]]:
    """Two parts of each category."""
    return {name: [build_part(name, np.random.default_rng(seed)) for seed in (0, 1)] for name in CATEGORIES}


def test_siblings_are_alike_but_not_equal(siblings: dict[str, list[Relief]]) -> None:
    for category, (one, other) in siblings.items():
        assert not np.array_equal(one.height, other.height), category
        assert not np.array_equal(one.albedo, other.albedo), category
        assert abs(one.height.max() - other.height.max()) < 2.5, category  # the smallest defect is deeper
        areas = [np.count_nonzero(part.height) for part in (one, other)]
        assert 0.9 < areas[0] / areas[1] < 1.1, category
        means = [part.albedo[part.height > 0].mean(axis=0) for part in (one, other)]
        np.testing.assert_allclose(*means, atol=0.07, err_msg=category)


def test_parts_have_a_texture_and_stand_out_from_the_table(siblings: dict[str, list[Relief]]) -> None:
    colours = table(np.random.default_rng(0))
    mat = colours.mean(axis=(0, 1))
    assert 0 < colours.std(axis=(0, 1)).max() < 0.02  # a table without a pattern
    for category, (part, _) in siblings.items():
        surface = part.albedo[part.height > 0]
        assert 0 <= part.albedo.min() < part.albedo.max() <= 1, category
        assert surface.std(axis=0).max() > 0.01, category
        assert np.abs(surface.mean(axis=0) - mat).max() > 0.1, category


def test_unknown_category_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"no category 'bagel'.*biscuit.*waffle"):
        check_category("bagel")
