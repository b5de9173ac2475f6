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
        return nearest(features, beyond_own_length(features, self.bank), self.missing)


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
    beyond = beyond_own_length(asked.features, bank.features).masked_fill(own, torch.inf)
    # a part so small that all of it is near: nothing to compare with, so nothing to be said against it
    alike = -asked.features.square().sum(dim=1, keepdim=True)
    beyond = beyond.where(beyond.isfinite().any(dim=1, keepdim=True), alike)
    return nearest(asked.features, beyond, bank.missing)


def beyond_own_length(one: Tensor, other: Tensor) -> Tensor:
    """Squared distances of (N, C) and (M, C) less the squared lengths of the first: |b|^2 - 2 a.b, (N, M).

    One matrix product writes each of the many numbers once; what is left out does not change which is the nearest.
    """
    return torch.addmm(other.square().sum(dim=1)[None], one, other.T, alpha=-2)


def nearest(features: Tensor, beyond: Tensor, missing: Tensor) -> tuple[Tensor, Tensor]:
    """Tell the nearest patches.

    Args:
        features: (N, C).
        beyond: (N, M), their `beyond_own_length` to the M patches of a bank.
        missing: (M,), the share of each of these that was not measured.

    Returns:
        Distance to the nearest, (N,), and what was not measured of it, (N,): of the four nearest, weighed by how near
        they are, since of two that are as near rounding would choose the one or the other.
    """
    found, places = beyond.topk(min(_NEIGHBOURS, beyond.shape[1]), dim=1, largest=False)
    closest = (found + features.square().sum(dim=1, keepdim=True)).clamp(min=1e-12)
    first = closest[:, :1]
    weights = ((first - closest) / (_AS_NEAR * first + 1e-6)).softmax(dim=1)
    weights = weights.where(closest < torch.inf, 0.0)
    return first[:, 0].sqrt(), (weights * missing[places]).sum(dim=1) / weights.sum(dim=1)
