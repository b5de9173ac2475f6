# SPDX-License-Identifier: Apache-2.0
"""Pieces of evidence, each brought to its own scale on the shots alone, and what they say together."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from anomalib_clip3dad.data.batch import EVIDENCE_KINDS

_TOP = 3  # patches that a score goes by: one alone is noise
# Few shots agree by chance, and one always does: deviations of less than this over the root of their number are not
# believed. Chosen on Toy3D, where 0.25 to 0.5 of four shots are alike.
_LEAST_DEVIATION = 0.5  # of the maps' scores, whose mean on the shots is 1
_LEAST_LOGIT = 1.0  # of the words, whatever the number of shots: they know nothing of them
_LEAST_SPREAD = 1e-3  # of the maps


class Evidence(NamedTuple):
    """What B samples show, before any scale; larger = more anomalous.

    Attributes:
        maps: (B, 4, h, w), see `EVIDENCE_KINDS`.
        words: (B, 2), logits of the [CLS] of the picture and of the views' mean; (B, 1) without views.
        part: (B, h, w), share of each patch that shows the part, in [0, 1].
    """

    maps: Tensor
    words: Tensor
    part: Tensor

    @classmethod
    def joined(cls, parts: Sequence["Evidence"]) -> "Evidence":
        """The evidence of several batches as that of one."""
        return cls(*(torch.cat(field) for field in zip(*parts, strict=True)))


class Flawed(NamedTuple):
    """What N synthetic anomalies on the shots show.

    Attributes:
        evidence: of the N samples, each compared with the shots other than its own.
        shot: (N,) int64, which shot each was put on.
        kind: (N,) int64, what kind of anomaly it is.
        mask: (N, h, w), share of each patch that the anomaly covers.
    """

    evidence: Evidence
    shot: Tensor
    kind: Tensor
    mask: Tensor


class Judgement(NamedTuple):
    """What all evidence says together.

    Attributes:
        score: (B,) in [0, 1).
        anomaly_map: (B, h, w) in [0, 1).
        shares: (B, 4, h, w), what each of `EVIDENCE_KINDS` adds at each patch, in the unit of the shots (1 = as much as
            the most anomalous places of a normal part) times the weight of its map.
    """

    score: Tensor
    anomaly_map: Tensor
    shares: Tensor


class EvidenceScale(nn.Module):
    """Knows how much of each piece of evidence normal parts show, and weighs it by how well it tells anomalies on them.

    A memory is no reference for parts in any pose, nor words for what they do not know: both show on the shots alone,
    by how far synthetic anomalies lift a piece of evidence above what the shots differ in among themselves. Score and
    map are weighed apart.

    Beyond the papers: our choice.

    Args:
        num_words: number of the words' logits.
    """

    median: Tensor
    spread: Tensor
    mean: Tensor
    deviation: Tensor
    score_weight: Tensor
    map_weight: Tensor

    def __init__(self, num_words: int) -> None:
        super().__init__()
        for name in ("median", "spread", "map_weight"):
            self.register_buffer(name, torch.zeros(len(EVIDENCE_KINDS)))
        for name in ("mean", "deviation", "score_weight"):
            self.register_buffer(name, torch.zeros(len(EVIDENCE_KINDS) + num_words))

    def fit(self, left_out: Evidence, turned_words: Tensor, least_spread: Tensor, flawed: Flawed) -> None:
        """Learn the scales.

        Args:
            left_out: of the k shots, each compared with the others only.
            turned_words: (N, 1 or 2), the words' logits of the shots turned in the plane of the picture.
            least_spread: (4,), of each map: less is rounding.
            flawed: synthetic anomalies on the shots.
        """
        on_part = left_out.part > 0
        patches = torch.stack([kind[on_part] for kind in left_out.maps.unbind(dim=1)])
        self.median = patches.median(dim=1).values
        top = part_top(left_out.maps - self.median[:, None, None], left_out.part).mean(dim=0)
        self.spread = torch.maximum(top, least_spread.clamp(min=_LEAST_SPREAD))
        maps = part_top(self.scaled(left_out), left_out.part)
        self.mean = torch.cat([maps.mean(dim=0), left_out.words.mean(dim=0)])
        words = torch.cat([left_out.words, turned_words])
        variance = torch.cat([maps.var(dim=0, correction=0), words.var(dim=0, correction=0)])
        least = self.mean.new_tensor(
            [_LEAST_DEVIATION / len(maps) ** 0.5] * len(EVIDENCE_KINDS) + [_LEAST_LOGIT] * words.shape[1]
        )
        self.deviation = (variance + least.square()).sqrt()
        self._weigh(left_out, flawed)

    def _weigh(self, left_out: Evidence, flawed: Flawed) -> None:
        """Weights in [0, 1]: by how many deviations anomalies lift a piece of evidence, of the kind that does most."""
        shots, lifted = self._found(left_out), self._found(flawed.evidence)
        lift = lifted - shots[flawed.shot]
        maps = self.scaled(flawed.evidence)
        on_part = flawed.evidence.part > 0.5
        inside, outside = on_part & (flawed.mask > 0.5), on_part & (flawed.mask == 0)
        scores, of_maps = [], []
        for kind in flawed.kind.unique():
            those = flawed.kind == kind
            scores.append(_separation(lift[those].T, (shots - shots.mean(dim=0)).T))
            # a map of these kinds is (4, n): what it shows in the anomalies, and beside them
            in_them, beside = (maps[those].transpose(0, 1)[:, where[those]] for where in (inside, outside))
            if in_them.shape[1] and beside.shape[1]:
                of_maps.append(_separation(in_them - beside.mean(dim=1, keepdim=True), beside))
        self.score_weight = torch.stack(scores).amax(dim=0)
        self.map_weight = torch.stack(of_maps).amax(dim=0) if of_maps else torch.ones_like(self.map_weight)

    def _found(self, evidence: Evidence) -> Tensor:
        """What the score goes by, (B, 4 + 1 or 2)."""
        return torch.cat([part_top(self.scaled(evidence), evidence.part), evidence.words], dim=1)

    def scaled(self, evidence: Evidence) -> Tensor:
        """Bring maps to the unit of the shots.

        Args:
            evidence: of B samples.

        Returns:
            (B, 4, h, w), 0 where no more is shown than half of the shots' patches show, and off the part.
        """
        maps = (evidence.maps - self.median[:, None, None]) / self.spread[:, None, None]
        return maps.clamp(min=0) * (evidence.part > 0)[:, None]

    def pieces(self, evidence: Evidence) -> Tensor:
        """Say how much more each piece of evidence shows than the shots do.

        Args:
            evidence: of B samples.

        Returns:
            (B, 4 + 2) or (B, 4 + 1), the weighed softplus of deviations above the shots' mean: what is normal adds next
            to nothing, whatever it is, and one piece alone can show that a part is anomalous.
        """
        return self.score_weight * functional.softplus((self._found(evidence) - self.mean) / self.deviation)

    def forward(self, evidence: Evidence) -> Judgement:
        """Judge: the sum of all pieces, and of all maps.

        Args:
            evidence: of B samples.

        Returns:
            Their scores and maps. x / (1 + x) brings both into [0, 1) in their order.
        """
        shares = self.map_weight[:, None, None] * self.scaled(evidence)
        score, total = self.pieces(evidence).sum(dim=1), shares.sum(dim=1)
        return Judgement(score / (1 + score), total / (1 + total), shares)


def _separation(lift: Tensor, normal: Tensor) -> Tensor:
    """Mean lift (K, N) over the deviation of lifts and normal values (K, M) together, brought into [0, 1]."""
    deviation = (lift.var(dim=1, correction=0) + normal.var(dim=1, correction=0) + 1e-6).sqrt()
    return (lift.mean(dim=1) / deviation).clamp(0, 1)


def part_top(maps: Tensor, part: Tensor) -> Tensor:
    """Average the largest places of maps on the part.

    Args:
        maps: (B, K, h, w).
        part: (B, h, w), share of each patch that shows the part.

    Returns:
        (B, K), the mean of the three largest of the patches that show the part on more than half of their pixels; of
        all patches, where none does.

    Example:
        >>> maps = torch.tensor([[[[9.0, 3.0, 2.0, 1.0, 0.0]]]])
        >>> part_top(maps, torch.tensor([[[0.5, 1.0, 1.0, 1.0, 1.0]]])).item()
        2.0
    """
    shown = part > 0.5
    shown = shown | ~shown.flatten(1).any(dim=1)[:, None, None]
    flat = rearrange(maps.where(shown[:, None], -torch.inf), "b k h w -> b k (h w)")
    top = flat.topk(min(_TOP, flat.shape[2]), dim=2).values
    known = top > -torch.inf
    return top.where(known, 0.0).sum(dim=2) / known.sum(dim=2)
