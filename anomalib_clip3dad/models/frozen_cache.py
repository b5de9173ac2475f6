# SPDX-License-Identifier: Apache-2.0
"""Cache for outputs of a frozen network on samples that do not change."""

from collections.abc import Hashable, Sequence
from typing import Any, Generic, TypeVar

import torch
from anomalib.data import AnomalibDataModule
from torch import Tensor

FeaturesT = TypeVar("FeaturesT", bound=tuple[Tensor, ...])
"""A NamedTuple of tensors, each with one row per sample."""


def rows_of(features: FeaturesT, rows: slice | list[int]) -> FeaturesT:
    """Select the features of some samples.

    Args:
        features: Features of B samples.
        rows: Samples to select.

    Returns:
        The selected features, in this order.
    """
    return _of_kind(features, [field[rows] for field in features])


def join(parts: Sequence[FeaturesT]) -> FeaturesT:
    """Concatenate the features of several batches."""
    return _of_kind(parts[0], [torch.cat(fields) for fields in zip(*parts, strict=True)])


class FeatureStore(Generic[FeaturesT]):
    """Features of samples by name.

    Args:
        budget: Bytes that it may hold; features that do not fit are computed again each time.
    """

    def __init__(self, budget: int = 1 << 30) -> None:
        self._free = budget
        self._rows: dict[Hashable, FeaturesT] = {}

    def knows(self, keys: Sequence[Hashable]) -> bool:
        """Whether all samples are known, and there is at least one."""
        return bool(keys) and all(key in self._rows for key in keys)

    def get(self, keys: Sequence[Hashable]) -> FeaturesT:
        """Return the features of known samples, in this order."""
        return join([self._rows[key] for key in keys])

    def put(self, keys: Sequence[Hashable], features: FeaturesT) -> None:
        """Store features of samples while there is room."""
        size = sum(field[:1].nbytes for field in features)
        for i, key in enumerate(keys):
            if key not in self._rows and size <= self._free:
                self._free -= size
                self._rows[key] = _of_kind(features, [field[i : i + 1].clone() for field in features])


def steady_names(trainer: Any, batch: Any) -> list[str]:
    """Names of the samples of a training batch, if the same name is the same sample each time.

    Only anomalib's data modules say whether they augment; nobody knows what another loader does.

    Args:
        trainer: Lightning's trainer.
        batch: A batch of anomalib.

    Returns:
        The names; none if the samples may change, or have no names.
    """
    data = getattr(trainer, "datamodule", None)
    steady = isinstance(data, AnomalibDataModule) and data.train_augmentations is None
    return batch.image_path if steady and batch.image_path else []


def _of_kind(features: Any, fields: Sequence[Tensor]) -> Any:
    return type(features)(*fields)
