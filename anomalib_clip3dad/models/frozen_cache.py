# SPDX-License-Identifier: Apache-2.0
"""What a frozen network says of samples that do not change, computed once."""

from collections.abc import Hashable, Sequence
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

FeaturesT = TypeVar("FeaturesT", bound=tuple[Tensor, ...])
"""A NamedTuple of tensors, each with a row for each sample."""


def rows_of(features: FeaturesT, rows: slice | list[int]) -> FeaturesT:
    """The features of some samples.

    Args:
        features: of B samples.
        rows: which of them.

    Returns:
        Theirs, in this order.
    """
    return _of_kind(features, [field[rows] for field in features])


def join(parts: Sequence[FeaturesT]) -> FeaturesT:
    """The features of several batches as those of one."""
    return _of_kind(parts[0], [torch.cat(fields) for fields in zip(*parts, strict=True)])


class FeatureStore(Generic[FeaturesT]):
    """Features of samples by their names.

    Args:
        budget: bytes that it may hold; what comes later is computed again each time.
    """

    def __init__(self, budget: int = 1 << 30) -> None:
        self._free = budget
        self._rows: dict[Hashable, FeaturesT] = {}

    def knows(self, keys: Sequence[Hashable]) -> bool:
        """Whether there are any samples, and all are known."""
        return bool(keys) and all(key in self._rows for key in keys)

    def get(self, keys: Sequence[Hashable]) -> FeaturesT:
        """Features of known samples, in this order."""
        return join([self._rows[key] for key in keys])

    def put(self, keys: Sequence[Hashable], features: FeaturesT) -> None:
        """Keep features of samples as long as there is room."""
        size = sum(field[:1].nbytes for field in features)
        for i, key in enumerate(keys):
            if key not in self._rows and size <= self._free:
                self._free -= size
                self._rows[key] = _of_kind(features, [field[i : i + 1].clone() for field in features])


def _of_kind(features: Any, fields: Sequence[Tensor]) -> Any:
    return type(features)(*fields)
