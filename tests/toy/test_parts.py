# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from anomalib_clip3dad.toy.parts import CATEGORIES, build_part, check_category


def test_there_are_enough_categories() -> None:
    assert len(CATEGORIES) >= 5
    assert all(name.isalpha() and name.islower() for name in CATEGORIES)


@pytest.mark.parametrize("category", CATEGORIES)
def test_siblings_are_alike_but_not_equal(category: str) -> None:
    one, other = (build_part(category, np.random.default_rng(seed)) for seed in (0, 1))
    assert not np.array_equal(one.height, other.height)
    assert abs(float(one.height.max() - other.height.max())) < 2.5  # the smallest defect is deeper
    areas = [np.count_nonzero(part.height) for part in (one, other)]
    assert 0.9 < areas[0] / areas[1] < 1.1
    assert one.albedo.min() >= 0
    assert one.albedo.max() <= 1


def test_unknown_category_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"no category 'bagel'.*biscuit.*waffle"):
        check_category("bagel")
