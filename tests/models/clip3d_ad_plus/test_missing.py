# SPDX-License-Identifier: Apache-2.0
"""The closing against scipy's."""

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_closing

from anomalib_clip3dad.models.clip3d_ad_plus.missing import closed_part, shares


@pytest.mark.parametrize("seed", range(3))
def test_it_is_a_closing(seed: int) -> None:
    generator = np.random.default_rng(seed)
    foreground = np.zeros((90, 100), bool)
    foreground[10:80, 15:85] = True
    for _ in range(6):
        row, column, side = generator.integers(0, 70), generator.integers(0, 80), generator.integers(5, 40)
        foreground[row : row + side, column : column + side] = False
    foreground[40, 40] = True  # never empty
    expected = binary_closing(foreground, np.ones((33, 33), bool)) | foreground
    assert (closed_part(torch.from_numpy(foreground)[None])[0].numpy() == expected).all()


def test_a_hole_is_filled_and_a_wide_one_is_not() -> None:
    foreground = torch.ones(1, 130, 130, dtype=torch.bool)
    foreground[:, 20:50, 20:50] = False
    foreground[:, 60:105, 60:105] = False
    closed = closed_part(foreground)
    assert closed[:, 20:50, 20:50].all()
    assert not closed[:, 82, 82].any()


def test_nothing_is_closed_where_nothing_was_measured() -> None:
    assert not closed_part(torch.zeros(1, 50, 50, dtype=torch.bool)).any()


def test_share_of_each_patch() -> None:
    mask = torch.zeros(1, 4, 4, dtype=torch.bool)
    mask[0, 0, 0] = mask[0, 2:, 2:] = True
    assert shares(mask, (2, 2)).tolist() == [[[0.25, 0.0], [0.0, 1.0]]]
