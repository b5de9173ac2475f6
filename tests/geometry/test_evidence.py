# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from anomalib_clip3dad.geometry import holds_evidence
from anomalib_clip3dad.limits import LEAST_CONTRAST, LEAST_MEASURED


def test_limits() -> None:
    """Just above and just below each of the two limits, in a batch."""
    size = 100
    image = torch.full((4, 3, size, size), 0.5)
    image[:, 1, 7, 7] += torch.tensor([1.01, 1.01, 0.99, 1.01]) * LEAST_CONTRAST
    xyz = torch.zeros(4, 3, size, size)
    xyz[:, 2].flatten(1)[:, : int(LEAST_MEASURED * size**2)] = 0.5
    xyz[3, :, 0, 0] = torch.nan
    assert holds_evidence(image, xyz).tolist() == [True, True, False, False]
    xyz[0, 2] *= -1
    assert not holds_evidence(image, xyz)[0]


def test_a_limit_is_enough() -> None:
    image = torch.zeros(1, 3, 8, 8)
    image[0, 2, 3, 4] = LEAST_CONTRAST
    assert holds_evidence(image, torch.ones(1, 3, 8, 8)).all()


def test_wrong_shapes_are_named() -> None:
    right = torch.ones(1, 3, 8, 8)
    with pytest.raises(ValueError, match=r"`image` has shape \(1, 4, 8, 8\)"):
        holds_evidence(torch.ones(1, 4, 8, 8), right)
    with pytest.raises(ValueError, match=r"`xyz` has shape \(3, 8, 8\)"):
        holds_evidence(right, right[0])
