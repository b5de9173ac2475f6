# SPDX-License-Identifier: Apache-2.0
"""Stage 2: synergistic refinement of rendered views by depth views (GS-CLIP, section 3.3)."""

import math

import torch
from torch import nn

from anomalib_clip3dad.clip.streams import Stream, normalised


class SynergisticRefinement(nn.Module):
    """SRM: global and local tokens of both streams look at each other and are added to those of the rendered views.

    GS-CLIP, section 3.3: S = f1(X^R) f2(X^D)^T; E^R and E^D are the tokens weighted by S and S^T. Its code attends over
    single tokens, where every weight is 1, and passes the global token only; this follows the paper. Ours are the
    scale of S, the residual and its start at 0, so that stage 2 begins with the result of stage 1.

    Args:
        width: C, width that images and texts share.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.from_render = nn.Linear(width, width)
        self.from_depth = nn.Linear(width, width)
        self.join = nn.Linear(2 * width, width)
        nn.init.zeros_(self.join.weight)
        nn.init.zeros_(self.join.bias)

    def forward(self, render: Stream, depth: Stream) -> Stream:
        """Refine the embeddings of N views; all are scaled to unit length."""
        (seen, felt) = (
            torch.cat([each.cls[:, None], each.patches], dim=1) for each in map(normalised, (render, depth))
        )
        likeness = self.from_render(seen) @ self.from_depth(felt).mT / math.sqrt(seen.shape[-1])
        of_render, of_depth = likeness.softmax(dim=-1) @ felt, likeness.mT.softmax(dim=-1) @ seen
        refined = seen + self.join(torch.cat([of_render, of_depth], dim=-1))
        return normalised(Stream(refined[:, 0], refined[:, 1:]))
