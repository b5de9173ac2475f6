# SPDX-License-Identifier: Apache-2.0
import numpy as np

from anomalib_clip3dad.toy.patches import blob, rim, stroke
from anomalib_clip3dad.toy.relief import CELL_MM, Field, part_grid

GRID = part_grid()
SEEDS = range(3)


def _area(patch: Field) -> float:
    return float(np.count_nonzero(patch > 0) * CELL_MM**2)


def test_blob_has_its_place_and_area() -> None:
    for seed in SEEDS:
        patch = blob(np.random.default_rng(seed), (12.0, -20.0), 150.0)
        assert 0.6 * 150 < _area(patch) < 1.5 * 150, seed
        assert abs(GRID.x[patch > 0].mean() - 12) < 2, seed
        assert abs(GRID.y[patch > 0].mean() + 20) < 2, seed
        assert 0.9 < patch.max() <= 1, seed


def test_stroke_is_thin_and_ends() -> None:
    for seed in SEEDS:
        patch = stroke(np.random.default_rng(seed), (0.0, 0.0), 80.0, 2.0, 1.0)
        assert 0.6 * 80 < _area(patch) < 1.5 * 80, seed
        assert GRID.radius[patch > 0].max() < 0.5 * 80 / (0.8 * 2.0) + 3, seed
        assert patch.max() > 0.7, seed


def test_rim_cuts_off_the_area_on_one_side() -> None:
    height = np.where(GRID.radius < 40, 10, 0).astype(np.float32)
    for seed in SEEDS:
        patch = rim(np.random.default_rng(seed), height, 200.0)
        beyond = (patch > 0) & (height > 0)
        assert abs(np.count_nonzero(beyond) * CELL_MM**2 - 200) < 1, seed
        assert patch[height > 0].max() == 1, seed
        assert np.hypot(GRID.x[beyond].mean(), GRID.y[beyond].mean()) > 30, seed
