# SPDX-License-Identifier: Apache-2.0
"""Adapters: small trained corrections of CLIP's own embeddings."""

import torch
from torch import Tensor, nn


class Adapter(nn.Module):
    """A_f, A_cg and A_sg: bottleneck with a residual mix.

    CLIP3D-AD, Eq. 5-7. The paper does not give the form; it is CLIP-Adapter's, C -> C/4 -> C with ReLU and mix ratio
    0.2, without the ReLU behind the last layer: that layer starts at zero, so that the untrained adapter keeps
    directions as they are, and a ReLU behind it would never let a gradient through.

    Args:
        width: C, width of the embeddings.
        ratio: Share of the correction, in [0, 1].
    """

    def __init__(self, width: int, ratio: float = 0.2) -> None:
        super().__init__()
        self.ratio = ratio
        self.down = nn.Linear(width, width // 4)
        self.up = nn.Linear(width // 4, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, embeddings: Tensor) -> Tensor:
        """Correct embeddings (..., C); same shape, not normalised.

        Example:
            >>> Adapter(8)(torch.ones(1, 8))[0, 0].item()  # untrained: shorter by the ratio, direction unchanged
            0.800000011920929
        """
        correction = self.up(torch.relu(self.down(embeddings)))
        return self.ratio * correction + (1 - self.ratio) * embeddings
