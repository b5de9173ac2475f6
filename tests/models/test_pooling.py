# SPDX-License-Identifier: Apache-2.0
import torch

from anomalib_clip3dad.models.pooling import pool_to_grid


def test_pooling_against_loops() -> None:
    maps = torch.rand(2, 3, 18, 26, dtype=torch.float64)
    found = pool_to_grid(maps, (2, 3))
    smooth = torch.zeros(2, 3, 16, 24, dtype=torch.float64)
    for row in range(16):
        for column in range(24):
            smooth[..., row, column] = maps[..., row : row + 3, column : column + 3].mean(dim=(2, 3))
    for row in range(2):
        for column in range(3):
            expected = smooth[..., 8 * row : 8 * row + 8, 8 * column : 8 * column + 8].mean(dim=(2, 3))
            torch.testing.assert_close(found[..., row, column], expected)
