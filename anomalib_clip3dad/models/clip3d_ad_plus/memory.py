# SPDX-License-Identifier: Apache-2.0
"""Memory bank of the shots' patches, and distances of other patches to it."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from anomalib.models.components import DynamicBufferMixin
from einops import rearrange
from torch import Tensor
from torch.nn import functional

_NEAR = 3.5  # in patches: with a single shot, patches closer than this are not compared with each other
_NEIGHBOURS = 4
_AT_ONCE = 200  # patches searched for together: their distances to a bank should fit in the processor's cache
_BLOCK = 64  # patches of a bank that are searched together
_FAR = 1e9  # features of patches that fill the last block: never the nearest, and its square is finite
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
        return search(features, self.bank, self.missing)


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
        return search(asked.features, others.features, others.missing)
    own = torch.cdist(asked.place, bank.place) < _NEAR
    beyond = beyond_own_length(asked.features, bank.features).masked_fill(own, torch.inf)
    # a part so small that all its patches are close has nothing to compare with, so the distance is 0
    alike = -asked.features.square().sum(dim=1, keepdim=True)
    return nearest(asked.features, beyond.where(~own.all(dim=1, keepdim=True), alike), bank.missing)


def search(features: Tensor, bank: Tensor, missing: Tensor) -> tuple[Tensor, Tensor]:
    """Find the nearest patches of a bank (M, C); other arguments and result are those of `nearest`."""
    rest = -len(bank) % _BLOCK  # for `smallest`; padding the distances would copy them
    bank, missing = functional.pad(bank, (0, 0, 0, rest), value=_FAR), functional.pad(missing, (0, rest))
    # not split in a traced graph, which takes any number of patches
    parts = [features] if torch.compiler.is_compiling() else features.split(_AT_ONCE)
    found = [nearest(part, beyond_own_length(part, bank), missing) for part in parts]
    distances, there = (torch.cat(each) for each in zip(*found, strict=True))
    return distances, there


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
    found, places = smallest(beyond, min(_NEIGHBOURS, beyond.shape[1]))
    closest = (found + features.square().sum(dim=1, keepdim=True)).clamp(min=1e-12)
    first = closest[:, :1]
    weights = ((first - closest) / (_AS_NEAR * first + 1e-6)).softmax(dim=1)
    weights = weights.where(closest < torch.inf, 0.0)
    return first[:, 0].sqrt(), (weights * missing[places]).sum(dim=1) / weights.sum(dim=1)


def smallest(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Find the smallest values of each row: `topk`, three times as fast for rows of thousands.

    They lie in the `count` blocks with the smallest minima, and a minimum takes much less time than `topk`.

    Args:
        values: (N, M); only a multiple of 64 columns is searched by blocks.
        count: K, at most M.

    Returns:
        The values, the smallest first, and their columns, (N, K) each.

    Example:
        >>> found, columns = smallest(torch.arange(1024.0).flip(0)[None], 2)
        >>> found.tolist(), columns.tolist()
        ([[0.0, 1.0]], [[1023, 1022]])
    """
    if values.shape[1] % _BLOCK or values.shape[1] <= 2 * count * _BLOCK:  # of a few blocks most would be searched
        return values.topk(count, dim=1, largest=False)
    blocks = rearrange(values, "n (b c) -> n b c", c=_BLOCK)
    chosen = blocks.amin(dim=2).topk(count, dim=1, largest=False).indices[..., None]
    places = rearrange(chosen * _BLOCK + torch.arange(_BLOCK, device=values.device), "n k c -> n (k c)")
    candidates = rearrange(blocks.gather(1, chosen.expand(-1, -1, _BLOCK)), "n k c -> n (k c)")
    found, at = candidates.topk(count, dim=1, largest=False)
    return found, places.gather(1, at)
