# SPDX-License-Identifier: Apache-2.0
"""Pieces of evidence, each scaled with the shots alone, and their combination to one score and map."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from anomalib_clip3dad.data.batch import EVIDENCE_KINDS

_TOP = 3  # number of patches that a score is averaged over: a single one is noise
# A few shots can agree by chance, and a single one always does, so deviations are at least this over the square root of
# the number of shots. Chosen on Toy3D, where 0.25 to 0.5 give the same results with four shots.
_LEAST_DEVIATION = 0.5  # for scores of maps, whose mean on the shots is 1
_LEAST_LOGIT = 1.0  # for logits of the prompts, for any number of shots, since they do not depend on the shots
_LEAST_SPREAD = 1e-3  # for values of maps


class Evidence(NamedTuple):
    """Unscaled evidence of B samples; larger = more anomalous.

    Attributes:
        maps: (B, 4, h, w), see `EVIDENCE_KINDS`.
        words: (B, 2), logits of the [CLS] of the image and of the views' mean; (B, 1) without views.
        part: (B, h, w), share of each patch that shows the part, in [0, 1].
    """

    maps: Tensor
    words: Tensor
    part: Tensor

    @classmethod
    def joined(cls, parts: Sequence["Evidence"]) -> "Evidence":
        """Concatenate the evidence of several batches."""
        return cls(*(torch.cat(field) for field in zip(*parts, strict=True)))


class Flawed(NamedTuple):
    """Evidence of N synthetic anomalies on the shots.

    Attributes:
        evidence: Evidence of the N samples, each compared with all shots except its own.
        shot: (N,) int64, number of the shot that the anomaly was put on.
        kind: (N,) int64, number of the kind of anomaly.
        mask: (N, h, w), share of each patch that the anomaly covers.
    """

    evidence: Evidence
    shot: Tensor
    kind: Tensor
    mask: Tensor


class Judgement(NamedTuple):
    """Combination of all evidence.

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
    """Scales each piece of evidence to that of normal parts, and weights it by how well it detects anomalies on them.

    A memory bank is no good reference for parts in arbitrary poses, nor are prompts for concepts that CLIP does not
    know. The shots reveal both: the weight is how far synthetic anomalies raise a piece of evidence above the
    differences among the shots. Score and map have separate weights.

    Not in the papers; our choice.

    Args:
        num_words: Number of logits of the prompts, 1 or 2.
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
            left_out: Evidence of the k shots, each compared with all others.
            turned_words: (N, 1 or 2), logits of the prompts for the shots rotated in the image plane.
            least_spread: (4,), smallest spread of each map that is more than rounding.
            flawed: Synthetic anomalies on the shots.
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
        """Set weights in [0, 1]: how many deviations the best detected kind of anomaly lifts each piece of evidence."""
        shots, lifted = self._found(left_out), self._found(flawed.evidence)
        lift = lifted - shots[flawed.shot]
        maps = self.scaled(flawed.evidence)
        on_part = flawed.evidence.part > 0.5
        inside, outside = on_part & (flawed.mask > 0.5), on_part & (flawed.mask == 0)
        scores, of_maps = [], []
        for kind in flawed.kind.unique():
            those = flawed.kind == kind
            scores.append(_separation(lift[those].T, (shots - shots.mean(dim=0)).T))
            # values of the four maps, (4, n) each: inside the anomalies, and outside
            in_them, beside = (maps[those].transpose(0, 1)[:, where[those]] for where in (inside, outside))
            if in_them.shape[1] and beside.shape[1]:
                of_maps.append(_separation(in_them - beside.mean(dim=1, keepdim=True), beside))
        self.score_weight = torch.stack(scores).amax(dim=0)
        self.map_weight = torch.stack(of_maps).amax(dim=0) if of_maps else torch.ones_like(self.map_weight)

    def _found(self, evidence: Evidence) -> Tensor:
        """Unscaled pieces of evidence for the score, (B, 4 + 1 or 2)."""
        return torch.cat([part_top(self.scaled(evidence), evidence.part), evidence.words], dim=1)

    def scaled(self, evidence: Evidence) -> Tensor:
        """Scale maps to units of the shots.

        Args:
            evidence: Evidence of B samples.

        Returns:
            (B, 4, h, w); 0 up to the median of the shots' patches, and outside the part.
        """
        maps = (evidence.maps - self.median[:, None, None]) / self.spread[:, None, None]
        return maps.clamp(min=0) * (evidence.part > 0)[:, None]

    def pieces(self, evidence: Evidence) -> Tensor:
        """Compare each piece of evidence with that of the shots.

        Args:
            evidence: Evidence of B samples.

        Returns:
            (B, 4 + 2) or (B, 4 + 1), weighted softplus of the deviations above the shots' mean: normal values add
            almost nothing, and a single piece is enough to show that a part is anomalous.
        """
        return self.score_weight * functional.softplus((self._found(evidence) - self.mean) / self.deviation)

    def forward(self, evidence: Evidence) -> Judgement:
        """Compute score and map as the sums of all pieces and of all maps.

        Args:
            evidence: Evidence of B samples.

        Returns:
            Scores and maps; x / (1 + x) maps both to [0, 1) monotonically.
        """
        shares = self.map_weight[:, None, None] * self.scaled(evidence)
        score, total = self.pieces(evidence).sum(dim=1), shares.sum(dim=1)
        return Judgement(score / (1 + score), total / (1 + total), shares)


def _separation(lift: Tensor, normal: Tensor) -> Tensor:
    """Mean lift (K, N) over the joint deviation of lifts and normal values (K, M), mapped to [0, 1]."""
    deviation = (lift.var(dim=1, correction=0) + normal.var(dim=1, correction=0) + 1e-6).sqrt()
    return (lift.mean(dim=1) / deviation).clamp(0, 1)


def part_top(maps: Tensor, part: Tensor) -> Tensor:
    """Average the largest values of maps on the part.

    Args:
        maps: (B, K, h, w), maps of patches.
        part: (B, h, w), share of each patch that shows the part.

    Returns:
        (B, K), mean of the three largest values of the patches that show the part on more than half of their
        pixels, or among all patches if there are none.

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
