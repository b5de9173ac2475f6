# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from anomalib_clip3dad.toy.defects import DEFECTS, Defect
from anomalib_clip3dad.toy.parts import build_part
from anomalib_clip3dad.toy.relief import CELL_MM, Relief

CENTRE = (15.0, 25.0)
AREA = 160.0


def _of(kind: str) -> list:
    return [pytest.param(defect, id=defect.__name__) for defect in DEFECTS[kind]]


def _spoil(defect: Defect, category: str = "biscuit") -> tuple[Relief, Relief]:
    part = build_part(category, np.random.default_rng(0))
    return part, defect(np.random.default_rng(1), part, CENTRE, AREA)


def _depth(before: Relief, after: Relief) -> np.ndarray:
    return np.abs(after.height - before.height)


@pytest.mark.parametrize("defect", _of("geometry"))
def test_geometry_leaves_colour(defect: Defect) -> None:
    before, after = _spoil(defect)
    assert after.albedo is before.albedo
    assert _depth(before, after).max() > 2.5


@pytest.mark.parametrize("defect", _of("colour"))
def test_colour_leaves_geometry(defect: Defect) -> None:
    before, after = _spoil(defect)
    assert after.height is before.height
    assert np.abs(after.albedo - before.albedo).max() > 0.1


@pytest.mark.parametrize("defect", _of("combined"))
def test_combined_changes_both_in_one_place(defect: Defect) -> None:
    before, after = _spoil(defect)
    deep = _depth(before, after) > 1
    painted = (np.abs(after.albedo - before.albedo).max(axis=-1) > 0.02) & (before.height > 0)
    assert deep.any()
    assert (deep & painted).sum() > 0.7 * deep.sum()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("defect", _of("geometry") + _of("combined"))
def test_depth_and_area_are_believable(defect: Defect, seed: int) -> None:
    part = build_part("ring", np.random.default_rng(seed))
    after = defect(np.random.default_rng(seed), part, (0.0, 36.0), AREA)
    depth = _depth(part, after)
    assert 2.5 <= depth.max() <= 8
    assert 0.2 * AREA < np.count_nonzero(depth > 1) * CELL_MM**2 < 2 * AREA
    np.testing.assert_array_equal(after.height > 0, part.height > 0)  # the table stays, the part keeps its outline
