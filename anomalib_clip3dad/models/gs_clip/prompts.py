# SPDX-License-Identifier: Apache-2.0
"""Stage 1: prompts that depend on the geometry of the part (GS-CLIP, section 3.2)."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from anomalib_clip3dad.clip.text_tower import TextTower
from anomalib_clip3dad.errors import InputError

from .point_net import CLOUD_WIDTH, POINT_WIDTH, PointFeatures

_PROTOTYPES = 32
_OUTLIERS = 12  # K, points that the defect prompt is distilled from
_HEADS = 4
_CONTEXT = 12  # learnable tokens of each prompt
_DEEP_BLOCKS, _DEEP_TOKENS = 8, 4  # learnable tokens before the second to the ninth block
_START = 0.02  # standard deviation of tokens at the start


class DefectDistiller(nn.Module):
    """Geometric defect distillation (GDDM): from the most outlying points to the tokens of a defect.

    GS-CLIP, section 3.2. A point is as outlying as its feature is far from the nearest of 32 normal prototypes. In the
    authors' code the scores only choose points, so that the prototypes learn nothing; here each chosen feature is
    multiplied by its score (our choice), which gives them a gradient.

    Args:
        width: Width of a word's embedding.
        tokens: Number of tokens of the defect prompt, the most outlying points' first; the authors' code takes 1.
    """

    def __init__(self, width: int, tokens: int = 1) -> None:
        super().__init__()
        self.tokens = tokens
        self.prototypes = nn.Parameter(torch.randn(_PROTOTYPES, POINT_WIDTH))
        self.project = nn.Linear(POINT_WIDTH, width)
        self.attention = nn.MultiheadAttention(width, _HEADS, batch_first=True)
        self.norm = nn.LayerNorm(width)
        self.refine = nn.Linear(width, width)

    def scores(self, features: Tensor) -> Tensor:
        """Outlier scores (B, N) of point features (B, N, 128): 1 minus the largest cosine to a prototype."""
        cosines = functional.normalize(features, dim=-1) @ functional.normalize(self.prototypes, dim=-1).T
        return 1 - cosines.amax(dim=-1)

    def forward(self, features: Tensor) -> Tensor:
        """Distil point features (B, N, 128) to tokens (B, t, D)."""
        worst, places = self.scores(features).topk(_OUTLIERS, dim=1)
        chosen = features.gather(1, places[..., None].expand(-1, -1, features.shape[2]))
        tokens = self.project(chosen * worst[..., None])
        attended, _ = self.attention(tokens, tokens, tokens, need_weights=False)
        tokens = self.norm(tokens + attended)
        return (tokens + functional.gelu(self.refine(tokens)))[:, : self.tokens]


class Prompts(NamedTuple):
    """Prompts of B clouds, normal and anomalous in turn.

    Attributes:
        tokens: (2 B, T, D), embeddings; those after the end mean nothing.
        ends: (2 B,) int64, place of the end.
        deep: (n, m, D), see `TextTower`; None for none.
    """

    tokens: Tensor
    ends: Tensor
    deep: Tensor | None


class GeometryPrompts(nn.Module):
    """Learnable prompts with a token of the part's shape and, in the anomalous one, of its defect.

    GS-CLIP, section 3.2, laid out as in its code: normal [start] V_1..V_12 t_s [.] [end], anomalous [start] W_1..W_12
    t_s t_d [.] [end]. No word of a language survives, and no class is named.

    Args:
        text: The frozen text tower.
        shape: Whether there is a token of the shape, t_s.
        defect: Whether there is a token of the defect, t_d.
        defect_tokens: Number of tokens of the defect.
        words: Two embeddings (12, D) that the tokens V and W start from; none starts them at random, as the paper does.

    Raises:
        ValueError: If the prompts do not fit the text tower, or it asks for more tokens than points are distilled.
    """

    def __init__(
        self,
        text: TextTower,
        shape: bool = True,
        defect: bool = True,
        defect_tokens: int = 1,
        words: Sequence[Tensor] = (),
    ) -> None:
        super().__init__()
        if not 1 <= defect_tokens <= _OUTLIERS:
            msg = f"defect_tokens={defect_tokens}: a number from 1 to {_OUTLIERS} is needed"
            raise InputError(msg)
        length = 3 + _CONTEXT + shape + defect * defect_tokens
        if length > text.context_length:
            msg = f"clip_model: prompts have {length} tokens, this text tower reads {text.context_length}; give another"
            raise InputError(msg)
        width = text.width
        self.context = nn.ParameterList([_tokens(1, _CONTEXT, width), _tokens(1, _CONTEXT, width)])
        for own, given in zip(self.context, words, strict=False):
            own.data.copy_(given)
        count = min(_DEEP_BLOCKS, len(text.blocks) - 1)
        self.deep = _tokens(count, _DEEP_TOKENS, width) if count else None
        self.shape = nn.Sequential(nn.Linear(CLOUD_WIDTH, width), nn.GELU(), nn.LayerNorm(width)) if shape else None
        self.defect = DefectDistiller(width, defect_tokens) if defect else None

    def forward(self, features: PointFeatures | None, text: TextTower, batch: int) -> Prompts:
        """Write the prompts of `batch` clouds for the text tower; without geometry in them, `features` is None."""

        def repeated(token: Tensor) -> Tensor:
            return token.expand(batch, -1, -1)

        start, stop, end = (repeated(word[None, None]) for word in (text.start, text.full_stop, text.end))
        shape = [] if self.shape is None or features is None else [self.shape(features.cloud)[:, None]]
        defect = [] if self.defect is None or features is None else [self.defect(features.points)]
        normal = torch.cat([start, repeated(self.context[0]), *shape, stop, end], dim=1)
        anomalous = torch.cat([start, repeated(self.context[1]), *shape, *defect, stop, end], dim=1)
        ends = torch.tensor([normal.shape[1] - 1, anomalous.shape[1] - 1], device=normal.device)
        normal = functional.pad(normal, (0, 0, 0, anomalous.shape[1] - normal.shape[1]))
        tokens = torch.stack([normal, anomalous], dim=1).flatten(0, 1)
        return Prompts(tokens, ends.repeat(batch), self.deep)


def _tokens(*shape: int) -> nn.Parameter:
    return nn.Parameter(_START * torch.randn(*shape))
