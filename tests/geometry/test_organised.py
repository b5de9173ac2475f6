# SPDX-License-Identifier: Apache-2.0
import math
import re

import pytest
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from anomalib_clip3dad.geometry import is_unorganised, resize_organised, validity_mask


def test_measured_is_finite_and_in_front():
    points = torch.tensor(
        [
            [0.1, 0.2, 0.5],
            [0.0, 0.0, 0.5],  # on the optical axis: measured
            [0.0, 0.0, 0.0],
            [0.1, 0.2, 0.0],
            [0.1, 0.2, -0.5],
            [math.nan, 0.2, 0.5],
            [0.1, math.inf, 0.5],
            [0.1, 0.2, math.inf],
        ]
    )
    mask = validity_mask(points.T.reshape(1, 3, 2, 4))
    assert mask.dtype == torch.bool
    assert mask.flatten().tolist() == [True, True, False, False, False, False, False, False]


def test_one_row_is_unorganised():
    assert is_unorganised(torch.zeros(2, 3, 1, 5))
    assert not is_unorganised(torch.zeros(2, 3, 4, 5))


def test_unorganised_points_may_be_behind_the_origin_but_padding_and_nan_are_none():
    xyz = torch.tensor([[1.0, 0, 0], [0, 0, -2.0], [0, 0, 0], [math.nan, 1, 1]]).T.reshape(1, 3, 1, 4)
    assert validity_mask(xyz).tolist() == [[[True, True, False, False]]]
    assert validity_mask(xyz.reshape(1, 3, 2, 2)).tolist() == [[[False, False], [False, False]]]


@pytest.mark.parametrize(
    ("source", "target"), [((60, 80), (24, 24)), ((13, 7), (31, 20)), ((9, 9), (9, 9)), ((5, 6), (6, 5))]
)
def test_resize_samples_as_a_mask_is_resized(source, target):
    # whole numbers, so that the image library's own rounding cannot differ
    xyz = torch.randint(1, 1000, (2, 3, *source), generator=torch.Generator().manual_seed(0)).float()
    expected = v2.Resize(target)(tv_tensors.Mask(xyz))
    assert torch.equal(resize_organised(xyz, target), expected.as_subclass(torch.Tensor))


def test_resize_picks_rows_exactly():
    """Where float32 rounds to the wrong side of a whole number, runtimes would differ from each other."""
    xyz = torch.arange(1, 501.0)[None, None, :, None].repeat(1, 3, 1, 1)
    rows = resize_organised(xyz, (480, 1))[0, 0, :, 0].long() - 1
    assert rows.tolist() == [i * 500 // 480 for i in range(480)]


def test_resize_blanks_the_whole_point_when_a_part_is_missing():
    xyz = torch.ones(1, 3, 4, 4)
    xyz[0, 0, 0, 0] = math.nan
    xyz[0, 1, 2, 2] = -math.inf
    small, same = resize_organised(xyz, (2, 2)), resize_organised(xyz, (4, 4))
    assert small[0, :, 0, 0].tolist() == small[0, :, 1, 1].tolist() == same[0, :, 0, 0].tolist() == [0, 0, 0]
    assert small.sum() == 2 * 3
    assert same.sum() == 14 * 3


@pytest.mark.parametrize("call", [validity_mask, lambda xyz: resize_organised(xyz, (2, 2))])
@pytest.mark.parametrize("shape", [(3, 4, 4), (1, 4, 4, 3), (1, 1, 4, 4)])
def test_wrong_shape_is_named(call, shape):
    with pytest.raises(ValueError, match=rf"`xyz` has shape {re.escape(str(shape))}, wanted \(B, 3, H, W\)"):
        call(torch.ones(shape))
