# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from anomalib.models.components import KCenterGreedy

from anomalib_clip3dad.models.coreset import Coreset
from anomalib_clip3dad.seeding import numpy_drawing_from


def chosen(kind: type[KCenterGreedy], patches: torch.Tensor) -> list[int]:
    torch.manual_seed(3)
    with numpy_drawing_from(3):
        return [int(index) for index in kind(patches, 0.2).select_coreset_idxs()]


@pytest.mark.parametrize("width", [5, 300])
def test_the_patches_are_those_of_anomalib(width: int) -> None:
    patches = torch.randn(200, width, generator=torch.Generator().manual_seed(0))
    found = chosen(Coreset, patches)
    assert found == chosen(KCenterGreedy, patches)
    assert len(set(found)) == 40


def test_each_patch_is_the_farthest_from_those_before() -> None:
    patches = torch.randn(60, 4, generator=torch.Generator().manual_seed(1))
    coreset = Coreset(patches, 0.5)
    coreset.features = patches
    order = [7]
    for _ in range(29):
        coreset.update_distances(order[-1])
        distances = torch.stack([(patches - patches[index]).norm(dim=1) for index in order]).amin(dim=0)
        torch.testing.assert_close(coreset.min_distances[:, 0], distances)
        order.append(int(distances.argmax()))
        assert int(coreset.get_new_idx()) == order[-1]


def test_no_patch_takes_new_memory() -> None:
    patches = torch.randn(60, 4, requires_grad=True)
    coreset = Coreset(patches, 0.5)
    coreset.features = patches
    coreset.update_distances(None)
    assert coreset.min_distances is None
    places = set()
    for index in range(10):
        coreset.update_distances(torch.tensor(index))
        places.add((coreset._differences.data_ptr(), coreset._distances.data_ptr(), coreset.min_distances.data_ptr()))
    assert len(places) == 1
    assert not coreset.min_distances.requires_grad
