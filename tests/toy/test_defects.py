# SPDX-License-Identifier: Apache-2.0
from collections.abc import Iterator

import numpy as np
import pytest

from anomalib_clip3dad.toy.defects import DEFECTS
from anomalib_clip3dad.toy.parts import build_part
from anomalib_clip3dad.toy.relief import CELL_MM, Relief

CENTRE = (0.0, 36.0)
AREA = 160.0


@pytest.fixture(scope="module")
def part() -> Relief:
    return build_part("ring", np.random.default_rng(0))


def _spoiled(part: Relief, kind: str) -> Iterator[tuple[str, Relief]]:
    for defect in DEFECTS[kind]:
        for seed in range(2):
            yield f"{defect.__name__}, seed {seed}", defect(np.random.default_rng(seed), part, CENTRE, AREA)


@pytest.mark.parametrize("kind", ["geometry", "combined"])
def test_depth_and_area_are_believable(part: Relief, kind: str) -> None:
    for name, after in _spoiled(part, kind):
        depth = np.abs(after.height - part.height)
        assert 2.5 <= depth.max() <= 8, name
        assert 0.2 * AREA < np.count_nonzero(depth > 1) * CELL_MM**2 < 2 * AREA, name
        # the table stays, the part keeps its outline
        np.testing.assert_array_equal(after.height > 0, part.height > 0, name)
        assert (after.albedo is part.albedo) == (kind == "geometry"), name


def test_colour_leaves_geometry(part: Relief) -> None:
    for name, after in _spoiled(part, "colour"):
        assert after.height is part.height, name
        assert np.abs(after.albedo - part.albedo).max() > 0.1, name


def test_combined_changes_both_in_one_place(part: Relief) -> None:
    for name, after in _spoiled(part, "combined"):
        deep = np.abs(after.height - part.height) > 1
        painted = (np.abs(after.albedo - part.albedo).max(axis=-1) > 0.02) & (part.height > 0)
        assert (deep & painted).sum() > 0.7 * deep.sum(), name


def test_no_defect_makes_a_hole() -> None:
    thin = Relief(*(np.ones((512, 512, *rest), dtype=np.float32) for rest in ((), (3,))), 0.0)
    for defect in DEFECTS["geometry"]:
        assert defect(np.random.default_rng(0), thin, CENTRE, AREA).height.min() >= 0.5, defect.__name__
