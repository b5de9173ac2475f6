# SPDX-License-Identifier: Apache-2.0
"""T+ and T-: one text embedding for all normal prompts, one for all anomalous prompts."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

_CHUNK = 64  # prompts per pass of the text tower: limits memory, changes nothing else


@torch.no_grad()
def embed_prompts(
    clip: torch.nn.Module,
    tokenizer: Callable[[list[str]], Tensor],
    normal: Sequence[str],
    anomalous: Sequence[str],
) -> Tensor:
    """Embed two sets of prompts and average each.

    CLIP3D-AD, section 3.3.3 (T+, T-). The paper does not specify the average; as in WinCLIP, L2-normalised embeddings
    are averaged and the mean is normalised again.

    Args:
        clip: An open_clip model.
        tokenizer: Its tokenizer: list of N strings -> (N, context length) integers.
        normal: Prompts of the normal part.
        anomalous: Prompts of the anomalous part.

    Returns:
        (2, C): T+ and T-, unit length.
    """

    def mean_embedding(prompts: Sequence[str]) -> Tensor:
        device = next(clip.parameters()).device
        tokens = tokenizer(list(prompts)).to(device)
        embeddings = torch.cat([clip.encode_text(chunk, normalize=True) for chunk in tokens.split(_CHUNK)])  # type: ignore[operator]
        return functional.normalize(embeddings.mean(dim=0), dim=0)

    return torch.stack([mean_embedding(normal), mean_embedding(anomalous)])
