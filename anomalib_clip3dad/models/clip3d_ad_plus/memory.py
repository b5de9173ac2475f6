# SPDX-License-Identifier: Apache-2.0
"""Memory bank of the shots' patches, and distances of other patches to it."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from anomalib.models.components import DynamicBufferMixin
from torch import Tensor

_NEAR = 3.5  # in patches: with a single shot, patches closer than this are not compared with each other
_NEIGHBOURS = 4
_AS_NEAR = 0.05  # share of the squared distance within which a patch counts as nearly as close as the nearest


class Patches(NamedTuple):
    """N patches of shots.

    Attributes:
        features: (N, C), feature of each patch.
        missing: (N,), share of the patch that should have been measured but was not.
        shot: (N,) int64, number of the shot.
        place: (N, 2), column and row in the unrotated shot, in patches.
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
        """Concatenate several sets of patches."""
        return cls(*(torch.cat(field) for field in zip(*parts, strict=True)))


class ShotMemory(DynamicBufferMixin):
    """Memory bank of the shots' patches with nearest-neighbour search, as in PatchCore (Roth et al., CVPR 2022)."""

    bank: Tensor
    missing: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("bank", torch.empty(0))
        self.register_buffer("missing", torch.empty(0))

    def fit(self, patches: Patches) -> None:
        """Store patches."""
        self.bank, self.missing = patches.features, patches.missing

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Find the nearest patches.

        Args:
            features: (N, C), features of patches.

        Returns:
            Distances and missing shares, (N,) each, as from `nearest`.
        """
        return nearest(features, beyond_own_length(features, self.bank), self.missing)


def left_out(asked: Patches, bank: Patches) -> tuple[Tensor, Tensor]:
    """Find the nearest patches in the other shots, or elsewhere on the part if there is only one shot.

    Args:
        asked: Patches of one shot.
        bank: Patches of all shots, including that one.

    Returns:
        Distances and missing shares, (N,) each, as from `nearest`.
    """
    others = bank.rows(~torch.isin(bank.shot, asked.shot))
    if len(others.shot):
        return nearest(asked.features, beyond_own_length(asked.features, others.features), others.missing)
    own = torch.cdist(asked.place, bank.place) < _NEAR
    beyond = beyond_own_length(asked.features, bank.features).masked_fill(own, torch.inf)
    # a part so small that all its patches are close has nothing to compare with, so the distance is 0
    alike = -asked.features.square().sum(dim=1, keepdim=True)
    return nearest(asked.features, beyond.where(~own.all(dim=1, keepdim=True), alike), bank.missing)


def beyond_own_length(one: Tensor, other: Tensor) -> Tensor:
    """Squared distances (N, M) of (N, C) and (M, C) without the squared lengths of the first: |b|^2 - 2 a.b.

    A single matrix product writes each of the N M numbers once; the omitted term does not change which is the nearest.
    """
    return torch.addmm(other.square().sum(dim=1)[None], one, other.T, alpha=-2)


def nearest(features: Tensor, beyond: Tensor, missing: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the distance to the nearest patch and its missing share.

    Args:
        features: (N, C), feature of each patch.
        beyond: (N, M), `beyond_own_length` of these and the M patches of a bank.
        missing: (M,), missing share of each patch of the bank.

    Returns:
        Distance to the nearest patch, (N,), and its missing share, (N,). The latter is averaged over the four nearest,
        weighted by closeness, because rounding would choose arbitrarily between equally close patches.
    """
    found, places = beyond.topk(min(_NEIGHBOURS, beyond.shape[1]), dim=1, largest=False)
    closest = (found + features.square().sum(dim=1, keepdim=True)).clamp(min=1e-12)
    first = closest[:, :1]
    weights = ((first - closest) / (_AS_NEAR * first + 1e-6)).softmax(dim=1)
    weights = weights.where(closest < torch.inf, 0.0)
    return first[:, 0].sqrt(), (weights * missing[places]).sum(dim=1) / weights.sum(dim=1)
