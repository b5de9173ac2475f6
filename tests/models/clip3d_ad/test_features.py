# SPDX-License-Identifier: Apache-2.0
from typing import Any

import pytest
import torch

from anomalib_clip3dad.clip import VisionTower, load_clip
from anomalib_clip3dad.geometry import MultiViewRenderer, Views, foreground_mask
from anomalib_clip3dad.models.clip3d_ad.features import FeatureStore, FrozenFeatures, join, read_samples
from anomalib_clip3dad.models.clip3d_ad.fusion import align_tokens
from tests.conftest import depth_batch


def features(size: int, value: float = 0.0) -> FrozenFeatures:
    shapes: list[tuple[int, ...]] = [(8,), (2, 9, 16), (3, 8), (3, 9, 16)]
    fields = [torch.rand(size, *shape) + value for shape in shapes]
    return FrozenFeatures(*fields, torch.rand(size, 3, 9) > 0.5)


def same(one: FrozenFeatures, other: FrozenFeatures) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


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
    assert same(join([found.rows([0]), found.rows([1])]), found)


def test_store_gives_back_what_was_put_in_any_order() -> None:
    store, put = FeatureStore(), features(3)
    store.put(["a", "b", "c"], put)
    assert store.knows(["c", "a", "c"])
    assert same(store.get(["c", "a", "c"]), put.rows([2, 0, 2]))


def test_store_knows_all_or_nothing() -> None:
    store = FeatureStore()
    store.put(["a"], features(1))
    assert store.knows(["a", "a"])
    assert not store.knows(["a", "b"])
    assert not store.knows([])


def test_store_keeps_the_first_and_no_reference_to_the_batch() -> None:
    store, put = FeatureStore(), features(1)
    expected = FrozenFeatures(*(field.clone() for field in put))
    store.put(["a"], put)
    put.cls.zero_()
    store.put(["a"], features(1, value=5))
    assert same(store.get(["a"]), expected)


def test_store_stays_within_its_budget() -> None:
    put = features(3)
    size = sum(field[0].nbytes for field in put)
    store = FeatureStore(budget=2 * size + 1)
    store.put(["a", "b", "c"], put)
    assert store.knows(["a", "b"])
    assert not store.knows(["c"])


def test_rows_and_join_are_inverse() -> None:
    put: Any = features(4)
    assert same(join([put.rows(slice(0, 1)), put.rows(slice(1, 4))]), put)
