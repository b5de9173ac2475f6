# SPDX-License-Identifier: Apache-2.0
"""Map and score from image-text similarity."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from einops import reduce
from torch import Tensor

REDUCTIONS = ("max", "part_max", "part_top5")
"""How a map enters the score: by its largest pixel (the paper), by its largest patch on the part, or by the mean of the
five largest."""


class Scoring(NamedTuple):
    """How similarities become map and score.

    Attributes:
        map_temperature: gamma.
        score_temperature: tau.
        reduction: One of `REDUCTIONS`.
    """

    map_temperature: float = 0.07
    score_temperature: float = 0.07
    reduction: str = "max"


def part_patches(foreground: Tensor, grid: tuple[int, int]) -> Tensor:
    """Find the patches that show the part on at least half of their pixels; all patches if there are none.

    Args:
        foreground: (B, H, W) bool, H and W multiples of the grid's rows and columns.
        grid: Rows and columns of patches.

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
    """Reduce the map of each sample to one number, from the patches that show the part.

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
    """Score images by the whole image and the most anomalous place.

    CLIP3D-AD, Eq. 16-18: S- / (S- + S+) + max S_map. S- and S+ are a softmax, so their sum is 1. Here it is half of
    that, because torchmetrics takes a batch with scores above 1 for logits, which would ruin AUROC and threshold.

    Args:
        images: Shares of S-, (B,) in [0, 1] each, one per embedding; a single one in the paper.
        maps: max S_map, (B,) in [0, 1] each, one per map; a single one in the paper.

    Returns:
        (B,) in [0, 1], larger = more anomalous.

    Example:
        >>> anomaly_score([torch.tensor([1.0])], [torch.tensor([0.25])]).item()
        0.625
    """
    return torch.stack([*images, *maps]).mean(dim=0)


def late_score(images: Sequence[Tensor], maps: Sequence[Tensor]) -> Tensor:
    """Score images so that a single embedding or map is enough to show that a part is anomalous.

    Not in the paper: noisy-or of the shares that `anomaly_score` adds, 1 - (prod_i (1 - s_i))^(1/n). The root keeps the
    order and spreads scores that would otherwise all be close to 1.

    Args:
        images: As for `anomaly_score`.
        maps: As for `anomaly_score`.

    Returns:
        (B,) in [0, 1], larger = more anomalous.

    Example:
        >>> shares = [torch.tensor([share]) for share in (0.5, 0.25, 0.75)]
        >>> round(late_score(shares[:1], shares[1:]).item(), 4)  # 1 - (0.5 * 0.75 * 0.25)^(1/3)
        0.5457
    """
    shares = torch.stack([*images, *maps])
    return 1 - (1 - shares).prod(dim=0) ** (1 / len(shares))
