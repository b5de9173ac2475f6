# SPDX-License-Identifier: Apache-2.0
"""What is trained: open_clip's contrastive loss, and three that tie captions, image and patches to the state."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from small_clip.feed import Seen

TEMPERATURE = 0.07  # that of CLIP3D-AD's score and map (Eq. 9 and 16), so that what is released is calibrated for them
PATCH_SHARE = 0.25  # of a patch that a defect must cover to count in full
CONTRASTIVE_WEIGHT, TEXT_WEIGHT, IMAGE_WEIGHT = 0.1, 0.5, 0.5  # names and materials come second to states
FAULTY_WEIGHT = 0.5  # of the faulty patches against the flawless ones, each kind averaged for itself


class Embeddings(NamedTuple):
    """What the two towers see in n twins, all of length 1.

    Attributes:
        image: (2, n, C) of [CLS]: flawless, faulty.
        patches: (2, n, N, C), row by row.
        text: (2, n, C).
    """

    image: Tensor
    patches: Tensor
    text: Tensor


class Losses(NamedTuple):
    """Scalars."""

    contrastive: Tensor
    text: Tensor
    image: Tensor
    patch: Tensor

    def total(self) -> Tensor:
        """What is minimised."""
        rest = CONTRASTIVE_WEIGHT * self.contrastive + TEXT_WEIGHT * self.text + IMAGE_WEIGHT * self.image
        return self.patch + rest


def embed(clip: Any, features: Tensor, captions: Tensor, corner: tuple[int, int] = (0, 0)) -> Embeddings:
    """Run both towers behind the frozen stem.

    Args:
        clip: open_clip model on the stem.
        features: (2, n, 656, h, w), what the stem gives, h = w up to the model's grid.
        captions: (2, n, length) tokens.
        corner: which place of the model's grid the first token of smaller images has, row and column.

    Returns:
        The embeddings, float32.
    """
    trunk = clip.visual.trunk
    tokens = trunk.patch_embed.project(features.flatten(0, 1))
    tokens = torch.cat([trunk.cls_token.expand(len(tokens), -1, -1), tokens], dim=1)
    tokens = tokens + window_of_positions(trunk, features.shape[-1], *corner)
    seen = clip.visual.head(trunk.norm(trunk.blocks(tokens)))
    sides = (seen[:, 0], seen[:, 1:], encode_text(clip, captions.flatten(0, 1)))
    return Embeddings(*(functional.normalize(side.float(), dim=-1).unflatten(0, (2, -1)) for side in sides))


def window_of_positions(trunk: Any, side: int, row: int, column: int) -> Tensor:
    """Position embeddings of [CLS] and a square of `side` x `side` places of the trunk's grid, (1 + side^2, D)."""
    rows, columns = trunk.patch_embed.grid_size
    grid = trunk.pos_embed[0, 1:].view(rows, columns, -1)
    square = grid[row : row + side, column : column + side].reshape(side * side, -1)
    return torch.cat([trunk.pos_embed[0, :1], square])


def encode_text(clip: Any, captions: Tensor) -> Tensor:
    """open_clip's `encode_text` without the empty places behind the longest caption, which change nothing.

    Args:
        clip: open_clip model with its plain text transformer.
        captions: (n, length) tokens, 0 behind the end.

    Returns:
        (n, C), not normalised.
    """
    used = int((captions > 0).sum(1).max())
    text = getattr(clip, "text", clip)
    captions = captions[:, :used]
    hidden = text.token_embedding(captions) + text.positional_embedding[:used]
    first = not getattr(text.transformer, "batch_first", False)
    hidden = text.transformer(hidden.transpose(0, 1) if first else hidden, attn_mask=text.attn_mask[:used, :used])
    hidden = text.ln_final(hidden.transpose(0, 1) if first else hidden)
    return hidden[torch.arange(len(captions)), captions.argmax(-1)] @ text.text_projection


def state_logits(embeddings: Tensor, text: Tensor) -> Tensor:
    """How much more something looks like what is said of faulty parts than of flawless ones.

    Both are ensembles, as T+ and T- of CLIP3D-AD are: the mean of all captions of the batch, of length 1. Against its
    own two captions alone, every image would chase a direction of its own until the text tower knows the states.

    Args:
        embeddings: (..., C) of length 1.
        text: (2, n, C) captions: flawless, faulty.

    Returns:
        (...), the logit of CLIP3D-AD's softmax over the two.
    """
    flawless, faulty = functional.normalize(text.mean(dim=1), dim=-1)
    return embeddings @ (faulty - flawless) / TEMPERATURE


def losses(embeddings: Embeddings, pairs: Seen, scale: Tensor, contrastive: Callable[..., Tensor]) -> Losses:
    """The losses of a batch.

    Args:
        embeddings: of the pairs.
        pairs: for masks and what can be seen.
        scale: the model's logit scale (already exponentiated).
        contrastive: open_clip's `ClipLoss()`.

    Returns:
        The losses; faulty twins whose defect nobody could see count in the first two only.
    """
    image, patches, text = embeddings
    sure = pairs.sure.float()
    words, whole, patch = (state_logits(side, text) for side in (text, image, patches))
    side = pairs.masks.shape[-1] // round(patch.shape[-1] ** 0.5)
    covered = functional.avg_pool2d(pairs.masks[:, None].float(), side).flatten(1)
    faulty = (covered / PATCH_SHARE).clamp(max=1) * sure[:, None]
    clean = torch.cat([torch.ones_like(covered), (covered == 0) * sure[:, None]])
    return Losses(
        contrastive(image.flatten(0, 1), text.flatten(0, 1), scale),
        _told_apart(words, torch.ones_like(sure)),
        _told_apart(whole, sure) + 0.5 * _mean(functional.softplus(whole[0] - whole[1]), sure),
        _mean(functional.softplus(patch.flatten(0, 1)), clean)
        + FAULTY_WEIGHT * _mean(functional.softplus(-patch[1]), faulty)
        + _mean(functional.softplus(patch[0] - patch[1]), faulty),  # twins in order, whatever else the patch shows
    )


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    return (values * weights).sum() / weights.sum().clamp(min=1)


def _told_apart(logits: Tensor, sure: Tensor) -> Tensor:
    """Cross-entropy of (2, n) logits: flawless, faulty."""
    both = torch.cat([functional.softplus(logits[0]), functional.softplus(-logits[1])])
    return _mean(both, torch.cat([torch.ones_like(sure), sure]))
