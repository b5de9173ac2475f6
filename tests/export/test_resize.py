# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from torchvision.transforms.v2 import Compose, InterpolationMode, Normalize, Resize

from anomalib_clip3dad.export.resize import MatrixResize, exportable

MODES = (InterpolationMode.BICUBIC, InterpolationMode.BILINEAR)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("source", [(48, 48), (300, 70), (31, 200), (20, 20)])
def test_resizes_as_torchvision_does(source: tuple[int, int], mode: InterpolationMode) -> None:
    image = torch.rand(2, 3, *source)
    expected = Resize((48, 48), mode, antialias=True)(image)
    # a tenth of the step between two grey values of 255, and no more than PyTorch's own rounding of places
    torch.testing.assert_close(MatrixResize((48, 48), mode)(image), expected, atol=2e-5, rtol=0)


def test_the_same_size_is_the_same_picture() -> None:
    image = torch.rand(1, 3, 48, 48)
    assert torch.equal(MatrixResize((48, 48))(image), image)


def test_each_part_of_a_transform_is_replaced_or_kept() -> None:
    normalise = Normalize([0.1, 0.2, 0.3], [0.5, 0.5, 0.5])
    image = torch.rand(1, 3, 70, 50)
    chain = Compose([Resize((48, 48), antialias=True), normalise])
    torch.testing.assert_close(exportable(chain)(image), chain(image), atol=5e-5, rtol=0)
    assert isinstance(exportable(chain)[0], MatrixResize)
    assert exportable(normalise) is normalise
    nearest = Resize((48, 48), InterpolationMode.NEAREST)
    assert exportable(nearest) is nearest
    assert torch.equal(exportable(None)(image), image)
