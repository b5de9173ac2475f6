# SPDX-License-Identifier: Apache-2.0
from types import SimpleNamespace
from typing import Any

import torch
from anomalib.data import AnomalibDataModule

from anomalib_clip3dad.models.clip3d_ad.features import FrozenFeatures
from anomalib_clip3dad.models.frozen_cache import FeatureStore, join, rows_of, steady_names


def features(size: int, value: float = 0.0) -> FrozenFeatures:
    shapes: list[tuple[int, ...]] = [(8,), (2, 9, 16), (3, 8), (3, 9, 16)]
    fields = [torch.rand(size, *shape) + value for shape in shapes]
    return FrozenFeatures(*fields, torch.rand(size, 3, 9) > 0.5)


def same(one: FrozenFeatures, other: FrozenFeatures) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_store_gives_back_what_was_put_in_any_order() -> None:
    store, put = FeatureStore(), features(3)
    store.put(["a", "b", "c"], put)
    assert store.knows(["c", "a", "c"])
    assert same(store.get(["c", "a", "c"]), rows_of(put, [2, 0, 2]))


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
    assert same(join([rows_of(put, slice(0, 1)), rows_of(put, slice(1, 4))]), put)


def test_samples_are_the_same_each_time_only_if_it_is_known_that_nothing_changes_them() -> None:
    class Data(AnomalibDataModule):
        def _setup(self, _stage: str | None = None) -> None: ...

    plain, batch = Data(1, 1, 0), SimpleNamespace(image_path=["a", "b"])
    augmented = Data(1, 1, 0, train_augmentations=torch.nn.Identity())  # type: ignore[arg-type]
    assert steady_names(SimpleNamespace(datamodule=plain), batch) == ["a", "b"]
    assert steady_names(SimpleNamespace(datamodule=plain), SimpleNamespace(image_path=None)) == []
    assert steady_names(SimpleNamespace(datamodule=augmented), batch) == []
    assert steady_names(SimpleNamespace(datamodule=None), batch) == []
