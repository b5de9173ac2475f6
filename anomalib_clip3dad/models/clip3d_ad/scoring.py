# SPDX-License-Identifier: Apache-2.0
"""Map and score from image-text similarity."""

from collections.abc import Sequence

import torch
from einops import rearrange
from torch.nn import functional


def similarity_map(
    features: torch.Tensor,
    text: torch.Tensor,
    grid: tuple[int, int],
    size: Sequence[int],
    temperature: float = 0.07,
    seen: torch.Tensor | None = None,
) -> torch.Tensor:
    """Compare each patch with both texts.

    CLIP3D-AD, Eq. 9 and 10: M_sim = F' T_s'^T / gamma, S_map = the anomalous channel of its softmax, enlarged.

    Args:
        features: F, (B, N_p, C), row by row.
        text: T_s, (2, C): flawless, faulty.
        grid: rows and columns of patches, N_p = rows x columns.
        size: height and width of the map.
        temperature: gamma.
        seen: (B, N_p) bool, patches that F knows something of; the others are 0 in the map. None: all.

    Returns:
        S_map, (B, height, width) in [0, 1], larger = more anomalous.
    """
    share = _anomalous_share(features, text, temperature)
    share = share if seen is None else share * seen
    anomalous = rearrange(share, "b (h w) -> b 1 h w", h=grid[0])
    return functional.interpolate(anomalous, size, mode="bilinear", align_corners=False)[:, 0]


def anomaly_score(
    image: torch.Tensor, text: torch.Tensor, anomaly_map: torch.Tensor, temperature: float = 0.07
) -> torch.Tensor:
    """Score images: how faulty the whole looks, plus the worst pixel.

    CLIP3D-AD, Eq. 16-18: S- / (S- + S+) + max S_map. S- and S+ are a softmax, so their sum is 1. Half of it here: what
    lies beyond [0, 1] torchmetrics takes for logits, one batch and not the next, which ruins AUROC and threshold.

    Args:
        image: I, (B, C).
        text: T_c, (2, C): flawless, faulty.
        anomaly_map: S_map, (B, H, W) in [0, 1].
        temperature: tau.

    Returns:
        (B,) in [0, 1], larger = more anomalous.

    >>> anomaly_score(torch.tensor([[0.0, 1.0]]), torch.eye(2), torch.full((1, 2, 2), 0.25)).item()
    0.6249997019767761
    """
    return (_anomalous_share(image, text, temperature) + anomaly_map.amax(dim=(-2, -1))) / 2


def late_score(
    images: Sequence[torch.Tensor], text: torch.Tensor, anomaly_maps: Sequence[torch.Tensor], temperature: float = 0.07
) -> torch.Tensor:
    """Score images by several pieces of evidence, each of which may alone show that a part is anomalous.

    Beyond the paper: a noisy-or of the shares that `anomaly_score` adds, 1 - (prod_i (1 - s_i))^(1/n). The root keeps
    the order and spreads scores that would all lie near 1.

    Args:
        images: (B, C) each.
        text: T_c, (2, C): flawless, faulty.
        anomaly_maps: (B, H, W) in [0, 1] each.
        temperature: tau.

    Returns:
        (B,) in [0, 1], larger = more anomalous.

    >>> maps = [torch.full((1, 2, 2), 0.25), torch.full((1, 2, 2), 0.75)]
    >>> round(late_score([torch.tensor([[1.0, 1.0]])], torch.eye(2), maps).item(), 4)  # 1 - (0.5 * 0.75 * 0.25)^(1/3)
    0.5457
    """
    shares = [_anomalous_share(image, text, temperature) for image in images]
    shares += [anomaly_map.amax(dim=(-2, -1)) for anomaly_map in anomaly_maps]
    return 1 - (1 - torch.stack(shares)).prod(dim=0) ** (1 / len(shares))


def _anomalous_share(embeddings: torch.Tensor, text: torch.Tensor, temperature: float) -> torch.Tensor:
    """Softmax over the cosine similarities of (..., C) with the two texts; (...), the share of the faulty one."""
    # never in half precision: divided by 0.07, its steps would tie scores that differ
    with torch.autocast(embeddings.device.type, enabled=False):
        image, state = (functional.normalize(side.float(), dim=-1) for side in (embeddings, text))
        return (image @ state.T / temperature).softmax(dim=-1)[..., 1]
