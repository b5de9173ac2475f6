# SPDX-License-Identifier: Apache-2.0

import pytest
import torch

from anomalib_clip3dad.clip import VisionTower, load_clip
from anomalib_clip3dad.geometry import MultiViewRenderer, Views, foreground_mask
from anomalib_clip3dad.models.clip3d_ad.features import read_samples
from anomalib_clip3dad.models.clip3d_ad.fusion import align_tokens
from anomalib_clip3dad.models.frozen_cache import join, rows_of
from tests.conftest import depth_batch


def sample() -> tuple[torch.Tensor, Views]:
    batch = depth_batch()
    views = MultiViewRenderer((5, 27), 48)(batch.image, batch.depth_map, foreground_mask(batch.depth_map))
    return batch.image.as_subclass(torch.Tensor), views


@pytest.mark.parametrize("align_views", [True, False])
def test_against_the_tower_image_by_image(tiny_clip: str, align_views: bool) -> None:
    tower = VisionTower(load_clip(tiny_clip, None).visual, [1, 2], with_last=True)
    image, views = sample()
    found = read_samples(tower, image, views, align_views)
    for i in range(2):
        cls, (coarse, fine, _) = tower(image[i : i + 1])
        torch.testing.assert_close(found.cls[i], cls[0])
        torch.testing.assert_close(found.tokens[i], torch.cat([coarse, fine]))
        raw = [tower(view[None]) for view in views.images[i]]
        torch.testing.assert_close(found.view_cls[i], torch.cat([one.cls for one in raw]))
        tokens = torch.stack([one.tokens[-1][0] for one in raw])
        if align_views:
            one = Views(*(field[i : i + 1] for field in views))
            tokens, seen = (field[0] for field in align_tokens(tokens[None], one.positions, one.visible, (3, 3)))
            assert torch.equal(found.seen[i], seen)
        else:
            assert found.seen.all()
        torch.testing.assert_close(found.view_tokens[i], tokens)


def test_without_views_there_are_none(tiny_clip: str) -> None:
    tower = VisionTower(load_clip(tiny_clip, None).visual, [1, 3])
    found = read_samples(tower, torch.rand(2, 3, 48, 48), None, align_views=True)
    assert [tuple(field.shape) for field in found] == [(2, 24), (2, 2, 9, 64), (2, 0, 24), (2, 0, 9, 64), (2, 0, 9)]
    both = join([rows_of(found, [0]), rows_of(found, [1])])
    assert all(torch.equal(a, b) for a, b in zip(both, found, strict=True))
