# SPDX-License-Identifier: Apache-2.0
"""The shots' patches, and how far the patches of others lie from them."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from anomalib.models.components import DynamicBufferMixin
from torch import Tensor

_NEAR = 3.5  # patches: what is nearer in the only shot is no comparison for a patch of it
_NEIGHBOURS = 4
_AS_NEAR = 0.05  # of the squared distance: so much farther is nearly as near


class Patches(NamedTuple):
    """The patches of a part in N places.

    Attributes:
        features: (N, C).
        missing: (N,), share that should have been measured and was not.
        shot: (N,) int64, which shot they come from.
        place: (N, 2), column and row in that shot, in patches, however it was turned.
    """

    features: Tensor
    missing: Tensor
    shot: Tensor
    place: Tensor

    def rows(self, chosen: Tensor) -> "Patches":
        """Select patches by a mask (N,)."""
        return Patches(*(field[chosen] for field in self))

    @classmethod
    def joined(cls, parts: Sequence["Patches"]) -> "Patches":
        """All patches of several."""
        return cls(*(torch.cat(field) for field in zip(*parts, strict=True)))


class ShotMemory(DynamicBufferMixin):
    """A bank of the shots' patches that tells which is the nearest; PatchCore's (Roth et al., CVPR 2022)."""

    bank: Tensor
    missing: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("bank", torch.empty(0))
        self.register_buffer("missing", torch.empty(0))

    def fit(self, patches: Patches) -> None:
        """Remember patches."""
        self.bank, self.missing = patches.features, patches.missing

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Find the nearest patches.

        Args:
            features: (N, C).

        Returns:
            As `nearest`.
        """
        return nearest(squared_distances(features, self.bank), self.missing)


def left_out(asked: Patches, bank: Patches) -> tuple[Tensor, Tensor]:
    """Find the nearest patches of the other shots; of one shot alone, those that show another place of it.

    Args:
        asked: patches of one shot.
        bank: of all shots, that one among them.

    Returns:
        As `ShotMemory.forward`.
    """
    own = asked.shot[:, None] == bank.shot
    if bool(own.all()):
        own = torch.cdist(asked.place, bank.place) < _NEAR
    distances = squared_distances(asked.features, bank.features).masked_fill(own, torch.inf)
    # a part so small that all of it is near: nothing to compare with, so nothing to be said against it
    distances = distances.where(distances.isfinite().any(dim=1, keepdim=True), 0.0)
    return nearest(distances, bank.missing)


def nearest(squared: Tensor, missing: Tensor) -> tuple[Tensor, Tensor]:
    """Tell the nearest patches.

    Args:
        squared: (N, M), squared distances of N patches to the M of a bank.
        missing: (M,), the share of each of these that was not measured.

    Returns:
        Distance to the nearest, (N,), and what was not measured of it, (N,): of the four nearest, weighed by how near
        they are, since of two that are as near rounding would choose the one or the other.
    """
    closest, places = squared.topk(min(_NEIGHBOURS, squared.shape[1]), dim=1, largest=False)
    first = closest[:, :1]
    weights = ((first - closest) / (_AS_NEAR * first + 1e-6)).softmax(dim=1)
    weights = weights.where(closest < torch.inf, 0.0)
    return first[:, 0].sqrt(), (weights * missing[places]).sum(dim=1) / weights.sum(dim=1)


def squared_distances(one: Tensor, other: Tensor) -> Tensor:
    """Squared Euclidean distances (N, M) of (N, C) and (M, C), by one matrix product."""
    norms = one.square().sum(dim=1)[:, None] + other.square().sum(dim=1)
    return (norms - 2 * one @ other.T).clamp(min=1e-12)
