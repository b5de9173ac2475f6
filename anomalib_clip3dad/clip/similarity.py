# SPDX-License-Identifier: Apache-2.0
"""Similarity of embeddings to the prompts of both states, as anomaly scores."""

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional


def anomalous_share(embeddings: Tensor, text: Tensor, temperature: float = 0.07) -> Tensor:
    """Compare embeddings with both text embeddings: anomalous channel of the softmax (CLIP3D-AD, Eq. 9, 16 and 17).

    Args:
        embeddings: (..., C), image embeddings of any length.
        text: (2, C), text embeddings: normal, anomalous; or (B, 2, C), those of each sample of (B, N, C) embeddings.
        temperature: Temperature of the softmax, gamma or tau.

    Returns:
        (...) in [0, 1], larger = more anomalous.
    """
    # never in half precision, whose coarse steps, divided by 0.07, would make different scores equal
    with torch.autocast(embeddings.device.type, enabled=False):
        image, state = (functional.normalize(side.float(), dim=-1) for side in (embeddings, text))
        return (image @ state.mT / temperature).softmax(dim=-1)[..., 1]


def patch_shares(features: Tensor, text: Tensor, temperature: float = 0.07, seen: Tensor | None = None) -> Tensor:
    """Compare each patch with both text embeddings.

    CLIP3D-AD, Eq. 9 and 10: M_sim = F' T_s'^T / gamma and the anomalous channel of its softmax.

    Args:
        features: F, (B, N_p, C), patch features row by row.
        text: T_s, (2, C), text embeddings: normal, anomalous.
        temperature: Temperature of the softmax, gamma.
        seen: (B, N_p) bool, patches that F has information about; the others get 0. None: all patches.

    Returns:
        (B, N_p) in [0, 1], larger = more anomalous.
    """
    share = anomalous_share(features, text, temperature)
    return share if seen is None else share * seen


def enlarge(shares: Tensor, grid: tuple[int, int], size: Sequence[int]) -> Tensor:
    """Enlarge the patches' scores to S_map bilinearly (CLIP3D-AD, Eq. 10).

    Args:
        shares: (B, N_p), scores row by row.
        grid: Rows and columns of patches, N_p = rows x columns.
        size: Height and width of the map.

    Returns:
        S_map, (B, height, width).
    """
    on_grid = rearrange(shares, "b (h w) -> b 1 h w", h=grid[0])
    return functional.interpolate(on_grid, size, mode="bilinear", align_corners=False)[:, 0]
