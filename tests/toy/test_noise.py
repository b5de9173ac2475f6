# SPDX-License-Identifier: Apache-2.0
import numpy as np

from anomalib_clip3dad.toy.noise import noise, smooth, specks
from anomalib_clip3dad.toy.relief import CELL_MM, CELLS


def _step(field: np.ndarray, axis: int) -> float:
    return float(np.abs(np.diff(field, axis=axis)).mean())


def test_noise_is_standardised_and_periodic(rng: np.random.Generator) -> None:
    field = noise(rng, 2, 20)
    assert abs(float(field.mean())) < 0.01
    assert abs(float(field.std()) - 1) < 1e-4
    seam = float(np.abs(field[:, 0] - field[:, -1]).mean())
    assert seam < 1.5 * _step(field, 1)


def test_noise_grain_follows_its_wavelengths_and_stretch(rng: np.random.Generator) -> None:
    fine = _step(noise(rng, 1, 10), 0)
    assert fine > 2 * _step(noise(rng, 8, 60), 0)
    assert _step(noise(rng, 1, 10, slope=0.0), 0) > 1.2 * fine
    stretched = noise(rng, 1, 10, stretch=5)
    assert _step(stretched, 0) > 2 * _step(stretched, 1)


def test_same_seed_same_field() -> None:
    fields = [noise(np.random.default_rng(seed), 2, 20) for seed in (3, 3, 4)]
    np.testing.assert_array_equal(fields[0], fields[1])
    assert not np.array_equal(fields[0], fields[2])


def test_smooth_spreads_a_point_into_a_gaussian() -> None:
    point = np.zeros((CELLS, CELLS), dtype=np.float32)
    point[200, 100] = 1
    blurred = smooth(point, 2.0, CELL_MM)
    rows, columns = np.mgrid[:CELLS, :CELLS]
    squared = ((rows - 200) ** 2 + (columns - 100) ** 2) * CELL_MM**2
    expected = np.exp(-squared / (2 * 2.0**2)) * CELL_MM**2 / (2 * np.pi * 2.0**2)
    np.testing.assert_allclose(blurred, expected, atol=1e-6)


def test_specks_cover_the_share_asked_for(rng: np.random.Generator) -> None:
    assert abs(specks(rng, 1.5, 0.05).mean() - 0.05) < 0.005
