# SPDX-License-Identifier: Apache-2.0
"""Map and score from image-text similarity."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from einops import reduce
from torch import Tensor

REDUCTIONS = ("max", "part_max", "part_top5")
"""What of a map goes into the score: its largest pixel (the paper); of the patches that show the part, the largest, or
the mean of the five largest."""


class Scoring(NamedTuple):
    """How similarities become map and score.

    Attributes:
        map_temperature: gamma.
        score_temperature: tau.
        reduction: one of `REDUCTIONS`.
    """

    map_temperature: float = 0.07
    score_temperature: float = 0.07
    reduction: str = "max"


def part_patches(foreground: Tensor, grid: tuple[int, int]) -> Tensor:
    """Tell which patches show the part on at least half of their pixels; all, where none does.

    Args:
        foreground: (B, H, W) bool, H and W multiples of the grid's rows and columns.
        grid: rows and columns of patches.

    Returns:
        (B, N_p) bool, row by row.

    Example:
        >>> part_patches(torch.tensor([[[True, True, False, False]]]), (1, 2)).tolist()
        [[True, False]]
    """
    share = reduce(foreground.float(), "b (h p) (w q) -> b (h w)", "mean", h=grid[0], w=grid[1])
    part = share >= 0.5
    return part | ~part.any(dim=1, keepdim=True)


def reduce_on_part(shares: Tensor, part: Tensor, reduction: str) -> Tensor:
    """One number for each sample's map, of the patches that show the part.

    Args:
        shares: (B, N_p) in [0, 1].
        part: (B, N_p) bool.
        reduction: "part_max" or "part_top5".

    Returns:
        (B,) in [0, 1].

    Example:
        >>> shares, part = torch.tensor([[0.9, 0.5, 0.3]]), torch.tensor([[False, True, True]])
        >>> [round(reduce_on_part(shares, part, name).item(), 2) for name in ("part_max", "part_top5")]
        [0.5, 0.4]
    """
    shown = shares.where(part, -1.0)
    if reduction == "part_max":
        return shown.amax(dim=1)
    largest = shown.topk(min(5, shown.shape[1]), dim=1).values
    return (largest * (largest >= 0)).sum(dim=1) / (largest >= 0).sum(dim=1)


def anomaly_score(images: Sequence[Tensor], maps: Sequence[Tensor]) -> Tensor:
    """Score images: how anomalous the whole looks, plus the worst place.

    CLIP3D-AD, Eq. 16-18: S- / (S- + S+) + max S_map. S- and S+ are a softmax, so their sum is 1. Half of it here: what
    lies beyond [0, 1] torchmetrics takes for logits, one batch and not the next, which ruins AUROC and threshold.

    Args:
        images: (B,) in [0, 1] each, the share of S- for each piece of evidence; one in the paper.
        maps: (B,) in [0, 1] each, max S_map; one in the paper.

    Returns:
        (B,) in [0, 1], larger = more anomalous.

    Example:
        >>> anomaly_score([torch.tensor([1.0])], [torch.tensor([0.25])]).item()
        0.625
    """
    return torch.stack([*images, *maps]).mean(dim=0)


def late_score(images: Sequence[Tensor], maps: Sequence[Tensor]) -> Tensor:
    """Score images by several pieces of evidence, each of which may alone show that a part is anomalous.

    Beyond the paper: a noisy-or of the shares that `anomaly_score` adds, 1 - (prod_i (1 - s_i))^(1/n). The root keeps
    the order and spreads scores that would all lie near 1.

    Args:
        images: as of `anomaly_score`.
        maps: likewise.

    Returns:
        (B,) in [0, 1], larger = more anomalous.

    Example:
        >>> shares = [torch.tensor([share]) for share in (0.5, 0.25, 0.75)]
        >>> round(late_score(shares[:1], shares[1:]).item(), 4)  # 1 - (0.5 * 0.75 * 0.25)^(1/3)
        0.5457
    """
    shares = torch.stack([*images, *maps])
    return 1 - (1 - shares).prod(dim=0) ** (1 / len(shares))
