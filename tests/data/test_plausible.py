# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from torch.nn import functional

from anomalib_clip3dad.data.plausible import _share_around


@pytest.mark.parametrize("side", [3, 9])
def test_the_share_around_a_pixel_is_that_inside_the_picture(side: int) -> None:
    valid = np.random.default_rng(0).random((12, 17)) < 0.4
    values = torch.from_numpy(valid)[None, None].double()
    expected = functional.avg_pool2d(values, side, stride=1, padding=side // 2, count_include_pad=False)[0, 0]
    assert np.allclose(_share_around(valid, side), expected.numpy())
