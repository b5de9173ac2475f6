# SPDX-License-Identifier: Apache-2.0
"""Pieces of evidence, each brought to its own scale on the shots alone, and what they say together."""

from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

KINDS = ("words", "colour", "geometry", "missing")
"""What the maps are evidence of: what the prompts say, what differs from the shots in the picture and on the surface,
and what was measured on the shots and is not here, or the other way round."""

_TOP = 3  # patches that a score goes by: one alone is noise
# Few shots agree by chance, and one always does: deviations of less than this over the root of their number are not
# believed. Chosen on Toy3D, where 0.25 to 0.5 of four shots are alike.
_LEAST_DEVIATION = 0.5  # of the maps' scores, whose mean on the shots is 1
_LEAST_LOGIT = 1.0  # of the words, whatever the number of shots: they know nothing of them
_LEAST_SPREAD = 1e-3  # of the maps


class Evidence(NamedTuple):
    """What B samples show, before any scale; larger = more anomalous.

    Attributes:
        maps: (B, 4, h, w), see `KINDS`.
        words: (B, 2), logits of the [CLS] of the picture and of the views' mean; (B, 1) without views.
        part: (B, h, w), share of each patch that shows the part, in [0, 1].
    """

    maps: Tensor
    words: Tensor
    part: Tensor


class Judgement(NamedTuple):
    """What all evidence says together.

    Attributes:
        score: (B,) in [0, 1).
        anomaly_map: (B, h, w) in [0, 1).
        shares: (B, 4, h, w), what each of `KINDS` adds at each patch, in the unit of the shots: 1 = as much as the most
            anomalous places of a normal part.
    """

    score: Tensor
    anomaly_map: Tensor
    shares: Tensor


class EvidenceScale(nn.Module):
    """Knows how much of each piece of evidence normal parts show, and weighs by how much they differ in it.

    Beyond the papers: our choice.

    Args:
        num_words: number of the words' logits.
    """

    median: Tensor
    spread: Tensor
    mean: Tensor
    deviation: Tensor

    def __init__(self, num_words: int) -> None:
        super().__init__()
        for name, size in (("median", len(KINDS)), ("spread", len(KINDS))):
            self.register_buffer(name, torch.zeros(size))
        for name in ("mean", "deviation"):
            self.register_buffer(name, torch.zeros(len(KINDS) + num_words))

    def fit(self, left_out: Evidence, turned_words: Tensor, least_spread: Tensor) -> None:
        """Learn the scales.

        Args:
            left_out: of the k shots, each compared with the others only.
            turned_words: (N, 1 or 2), the words' logits of the shots turned in the plane of the picture.
            least_spread: (4,), of each map: less is rounding.
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
            [_LEAST_DEVIATION / len(maps) ** 0.5] * len(KINDS) + [_LEAST_LOGIT] * words.shape[1]
        )
        self.deviation = (variance + least.square()).sqrt()

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
            (B, 4 + 2) or (B, 4 + 1), the softplus of deviations above the shots' mean: what is normal adds next to
            nothing, whatever it is, and one piece alone can show that a part is anomalous.
        """
        found = torch.cat([part_top(self.scaled(evidence), evidence.part), evidence.words], dim=1)
        return functional.softplus((found - self.mean) / self.deviation)

    def forward(self, evidence: Evidence) -> Judgement:
        """Judge: the sum of all pieces, and of all maps.

        Args:
            evidence: of B samples.

        Returns:
            Their scores and maps. x / (1 + x) brings both into [0, 1) in their order.
        """
        shares = self.scaled(evidence)
        score, total = self.pieces(evidence).sum(dim=1), shares.sum(dim=1)
        return Judgement(score / (1 + score), total / (1 + total), shares)


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
