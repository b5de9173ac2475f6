# SPDX-License-Identifier: Apache-2.0
"""Coarse-to-fine decoder: patch tokens of several blocks become features that text can be compared with."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .blocks import identity_blocks


class CoarseToFineDecoder(nn.Module):
    """C2F_Decoder: concatenate, project to C, refine with transformer blocks.

    CLIP3D-AD, Eq. 8. The paper gives no more than "consisting of transformer blocks"; ours are two of width C. It
    starts as frozen CLIP: the deepest of the asked blocks goes through copies of CLIP's last norm and projection, the
    others count nothing yet.

    Args:
        final_norm: CLIP's `ln_post`, over D.
        projection: CLIP's `proj`, (D, C).
        num_layers: |L|, number of blocks that tokens are taken from.
        depth: Number of transformer blocks.
    """

    def __init__(self, final_norm: nn.LayerNorm, projection: Tensor, num_layers: int, depth: int = 2) -> None:
        super().__init__()
        width, embed_dim = projection.shape
        self.norms = nn.ModuleList(nn.LayerNorm(width, eps=final_norm.eps) for _ in range(num_layers))
        for norm in self.norms:
            norm.load_state_dict(final_norm.state_dict())
        self.to_embedding = nn.Linear(num_layers * width, embed_dim)
        nn.init.zeros_(self.to_embedding.weight)
        nn.init.zeros_(self.to_embedding.bias)
        self.to_embedding.weight.data[:, -width:] = projection.detach().T
        self.blocks = identity_blocks(embed_dim, depth)

    def forward(self, tokens: Sequence[Tensor]) -> Tensor:
        """Decode.

        Args:
            tokens: F_l of each l in L, from coarse to fine (shallow to deep), each (B, N_p, D).

        Returns:
            F, (B, N_p, C), not normalised.
        """
        normed = [norm(layer) for norm, layer in zip(self.norms, tokens, strict=True)]
        return self.blocks(self.to_embedding(torch.cat(normed, dim=-1)))
