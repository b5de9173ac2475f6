# SPDX-License-Identifier: Apache-2.0
import math
from typing import Any

import pytest
import timm
import torch
from small_clip.start import order_positions, standardise

import anomalib_clip3dad.clip  # its architectures  # noqa: F401


@pytest.fixture
def trunk() -> Any:
    return timm.create_model("vit_tiny_lite0_patch16_240", depth=1)


def test_places_are_sines_and_cosines_of_row_and_column(trunk: Any) -> None:
    cls = trunk.pos_embed[0, 0].clone()
    order_positions(trunk)
    assert torch.equal(trunk.pos_embed[0, 0], cls)
    grid = trunk.pos_embed[0, 1:].view(15, 15, 192)
    frequencies = [100 ** (-k / 47) for k in range(48)]  # from 1 down to 1/100
    for row, column in ((0, 0), (3, 11), (14, 2)):
        waves = [wave(at * f) for at in (row, column) for wave in (math.sin, math.cos) for f in frequencies]
        # sines and cosines together have the variance 1/2
        torch.testing.assert_close(grid[row, column], 0.25 * math.sqrt(2) * torch.tensor(waves))


def test_channels_get_mean_zero_and_variance_one(trunk: Any) -> None:
    features = torch.randn(5, 656, 7, 7) * torch.logspace(-2, 2, 656)[:, None, None] + torch.randn(656, 1, 1)
    features[:, 3] = 4.0  # a dead channel
    standardise(trunk, features)
    channels = torch.stack([features[:, channel].flatten() for channel in range(656)]).double()
    found = (channels - trunk.patch_embed.mean[:, None]) / trunk.patch_embed.std[:, None]
    alive = torch.arange(656) != 3
    torch.testing.assert_close(found.mean(1), torch.zeros(656).double(), atol=1e-3, rtol=0)
    torch.testing.assert_close(found[alive].std(1), torch.ones(655).double(), atol=1e-3, rtol=0)
    assert found.isfinite().all()
