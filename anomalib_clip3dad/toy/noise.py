# SPDX-License-Identifier: Apache-2.0
"""Natural irregularity: random fields with a given grain size, made in the frequency domain.

The fields are periodic, so a texture can be continued beyond its patch without a seam.
"""

from functools import cache

import numpy as np

from anomalib_clip3dad.toy.relief import CELL_MM, CELLS, Field, Mask


@cache
def _frequencies(cells: int, cell_mm: float, stretch: float) -> Field:
    along = np.fft.rfftfreq(cells, cell_mm).astype(np.float32) * np.float32(stretch)
    across = np.fft.fftfreq(cells, cell_mm).astype(np.float32)
    return np.hypot(along[None, :], across[:, None])


def noise(rng: np.random.Generator, fine: float, coarse: float, *, slope: float = 1.0, stretch: float = 1.0) -> Field:
    """Periodic random field over the patch.

    Args:
        rng: Source of randomness.
        fine: Shortest wavelength in millimetres.
        coarse: Longest wavelength in millimetres.
        slope: Amplitude falls as frequency ** -slope; 0 = all grain sizes equally strong.
        stretch: Length of the grain along x relative to y (wood, brushed metal).

    Returns:
        (CELLS, CELLS) float32, mean 0, standard deviation 1.

    Example:
        >>> field = noise(np.random.default_rng(0), 2.0, 20.0)
        >>> field.shape, round(float(field.std()), 3)
        ((512, 512), 1.0)
    """
    frequency = _frequencies(CELLS, CELL_MM, stretch)
    gain = np.maximum(frequency, 1 / coarse) ** -slope * np.exp(-((frequency * fine) ** 2))
    gain *= 1 - np.exp(-((frequency * coarse) ** 2))
    real, imaginary = gain * rng.standard_normal((2, *gain.shape), dtype=np.float32)
    field = np.fft.irfft2(real + 1j * imaginary, s=(CELLS, CELLS)).astype(np.float32)
    return field / field.std()


def smooth(field: Field, width: float, cell_mm: float) -> Field:
    """Gaussian blur with periodic borders.

    Args:
        field: (N, N), N even.
        width: Standard deviation in millimetres.
        cell_mm: Edge of a cell of ``field`` in millimetres.

    Returns:
        (N, N) float32.

    Example:
        >>> float(smooth(np.ones((8, 8)), 2.0, 1.0)[0, 0])
        1.0
    """
    frequency = _frequencies(field.shape[0], cell_mm, 1.0)
    spectrum = np.fft.rfft2(field) * np.exp(-2 * (np.pi * width * frequency) ** 2)
    return np.fft.irfft2(spectrum, s=field.shape).astype(np.float32)


def specks(rng: np.random.Generator, size: float, share: float) -> Mask:
    """Draw random grains.

    Args:
        rng: Source of randomness.
        size: Typical distance of grains in millimetres.
        share: Share of the patch that grains cover, in (0, 1).

    Returns:
        (CELLS, CELLS), true on a grain.

    Example:
        >>> round(float(specks(np.random.default_rng(0), 2.0, 0.1).mean()), 3)
        0.1
    """
    field = noise(rng, size, 4 * size, slope=0.0)
    return field > np.quantile(field[::2, ::2], 1 - share)
