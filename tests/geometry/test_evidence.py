# SPDX-License-Identifier: Apache-2.0
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
