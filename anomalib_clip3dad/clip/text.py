# SPDX-License-Identifier: Apache-2.0
"""T+ and T-: one embedding for all that is said of the flawless, one for the faulty part."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

_CHUNK = 64  # prompts in one pass of the text tower: bounds the memory, changes nothing else


@torch.no_grad()
def embed_prompts(
    clip: torch.nn.Module,
    tokenizer: Callable[[list[str]], Tensor],
    normal: Sequence[str],
    anomalous: Sequence[str],
) -> Tensor:
    """Embed two sets of prompts and average each.

    CLIP3D-AD, section 3.3.3 (T+, T-). The paper does not say what is averaged; as in WinCLIP, it is the L2-normalised
    embeddings, and the mean is normalised again.

    Args:
        clip: an open_clip model.
        tokenizer: its tokenizer: list of N strings -> (N, context length) integers.
        normal: what is said of the flawless part.
        anomalous: what is said of the faulty part.

    Returns:
        (2, C): T+, T-, each of length 1.
    """

    def mean_embedding(prompts: Sequence[str]) -> Tensor:
        device = next(clip.parameters()).device
        tokens = tokenizer(list(prompts)).to(device)
        embeddings = torch.cat([clip.encode_text(chunk, normalize=True) for chunk in tokens.split(_CHUNK)])  # type: ignore[operator]
        return functional.normalize(embeddings.mean(dim=0), dim=0)

    return torch.stack([mean_embedding(normal), mean_embedding(anomalous)])
