# SPDX-License-Identifier: Apache-2.0
"""Map and score from image-text similarity."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from einops import rearrange, reduce
from torch import Tensor
from torch.nn import functional

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


def patch_shares(features: Tensor, text: Tensor, temperature: float = 0.07, seen: Tensor | None = None) -> Tensor:
    """Compare each patch with both texts.

    CLIP3D-AD, Eq. 9 and 10: M_sim = F' T_s'^T / gamma and the anomalous channel of its softmax.

    Args:
        features: F, (B, N_p, C), row by row.
        text: T_s, (2, C): normal, anomalous.
        temperature: gamma.
        seen: (B, N_p) bool, patches that F knows something of; the others get 0. None: all.

    Returns:
        (B, N_p) in [0, 1], larger = more anomalous.
    """
    share = anomalous_share(features, text, temperature)
    return share if seen is None else share * seen


def enlarge(shares: Tensor, grid: tuple[int, int], size: Sequence[int]) -> Tensor:
    """Make S_map of what the patches say (CLIP3D-AD, Eq. 10), bilinearly.

    Args:
        shares: (B, N_p), row by row.
        grid: rows and columns of patches, N_p = rows x columns.
        size: height and width of the map.

    Returns:
        S_map, (B, height, width).
    """
    on_grid = rearrange(shares, "b (h w) -> b 1 h w", h=grid[0])
    return functional.interpolate(on_grid, size, mode="bilinear", align_corners=False)[:, 0]


def part_patches(foreground: Tensor, grid: tuple[int, int]) -> Tensor:
    """Tell which patches show the part on at least half of their pixels; all, where none does.

    Args:
        foreground: (B, H, W) bool, H and W multiples of the grid's rows and columns.
        grid: rows and columns of patches.

    Returns:
        (B, N_p) bool, row by row.

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

    >>> shares = [torch.tensor([share]) for share in (0.5, 0.25, 0.75)]
    >>> round(late_score(shares[:1], shares[1:]).item(), 4)  # 1 - (0.5 * 0.75 * 0.25)^(1/3)
    0.5457
    """
    shares = torch.stack([*images, *maps])
    return 1 - (1 - shares).prod(dim=0) ** (1 / len(shares))


def anomalous_share(embeddings: Tensor, text: Tensor, temperature: float = 0.07) -> Tensor:
    """Compare embeddings with both texts: the anomalous channel of the softmax (CLIP3D-AD, Eq. 9, 16 and 17).

    Args:
        embeddings: (..., C).
        text: (2, C): normal, anomalous.
        temperature: gamma or tau.

    Returns:
        (...) in [0, 1].
    """
    # never in half precision: divided by 0.07, its steps would tie scores that differ
    with torch.autocast(embeddings.device.type, enabled=False):
        image, state = (functional.normalize(side.float(), dim=-1) for side in (embeddings, text))
        return (image @ state.T / temperature).softmax(dim=-1)[..., 1]
