# SPDX-License-Identifier: Apache-2.0
"""Training objective: open_clip's contrastive loss, and losses for the state in captions, images and patches."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from small_clip.feed import Seen

TEMPERATURE = 0.07  # as in CLIP3D-AD's score and map (Eq. 9 and 16), so that the weights are calibrated for them
PATCH_SHARE = 0.25  # share of a patch that a defect must cover to count in full
CONTRASTIVE_WEIGHT, TEXT_WEIGHT, IMAGE_WEIGHT = 0.1, 0.5, 0.5  # names and materials matter less than states
FAULTY_WEIGHT = 0.5  # weight of anomalous patches relative to normal ones, each averaged separately


class Embeddings(NamedTuple):
    """Embeddings of n twins, unit length.

    Attributes:
        image: (2, n, C), embeddings of [CLS]: normal, anomalous.
        patches: (2, n, N, C), embeddings of patches, row by row.
        text: (2, n, C), embeddings of the captions.
    """

    image: Tensor
    patches: Tensor
    text: Tensor


class Losses(NamedTuple):
    """Parts of the loss, all scalars."""

    contrastive: Tensor
    text: Tensor
    image: Tensor
    patch: Tensor

    def total(self) -> Tensor:
        """Weighted sum that is minimised."""
        rest = CONTRASTIVE_WEIGHT * self.contrastive + TEXT_WEIGHT * self.text + IMAGE_WEIGHT * self.image
        return self.patch + rest


def embed(clip: Any, features: Tensor, captions: Tensor, corner: tuple[int, int] = (0, 0)) -> Embeddings:
    """Run both towers on features of the frozen stem.

    Args:
        clip: An open_clip model with the stem.
        features: (2, n, 656, h, w), output of the stem, h = w at most the model's grid.
        captions: (2, n, length), tokens.
        corner: Row and column of the first token in the model's grid, for smaller images.

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
    """Position embeddings of [CLS] and of a `side` x `side` window of the trunk's grid, (1 + side^2, D)."""
    rows, columns = trunk.patch_embed.grid_size
    grid = trunk.pos_embed[0, 1:].view(rows, columns, -1)
    square = grid[row : row + side, column : column + side].reshape(side * side, -1)
    return torch.cat([trunk.pos_embed[0, :1], square])


def encode_text(clip: Any, captions: Tensor) -> Tensor:
    """open_clip's `encode_text` without the padding after the longest caption, which has no effect.

    Args:
        clip: An open_clip model with the plain text transformer.
        captions: (n, length), tokens, 0 after the end.

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
    """Compute how much more similar embeddings are to anomalous captions than to normal ones.

    Both are ensembles like T+ and T- of CLIP3D-AD: the normalised mean of all captions of the batch. Compared with its
    own two captions only, every image would follow a direction of its own until the text tower knows the states.

    Args:
        embeddings: (..., C), unit length.
        text: (2, n, C), embeddings of captions: normal, anomalous.

    Returns:
        (...), the logit of CLIP3D-AD's softmax over the two.
    """
    flawless, faulty = functional.normalize(text.mean(dim=1), dim=-1)
    return embeddings @ (faulty - flawless) / TEMPERATURE


def losses(embeddings: Embeddings, pairs: Seen, scale: Tensor, contrastive: Callable[..., Tensor]) -> Losses:
    """Compute the losses of a batch.

    Args:
        embeddings: Embeddings of the twins.
        pairs: The twins, with masks and visibility.
        scale: The model's logit scale (already exponentiated).
        contrastive: open_clip's `ClipLoss()`.

    Returns:
        The losses; anomalous twins with an invisible defect only count in the first two.
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
        + _mean(functional.softplus(patch[0] - patch[1]), faulty),  # only the order of the twins
    )


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    return (values * weights).sum() / weights.sum().clamp(min=1)


def _told_apart(logits: Tensor, sure: Tensor) -> Tensor:
    """Cross-entropy of (2, n) logits: normal, anomalous."""
    both = torch.cat([functional.softplus(logits[0]), functional.softplus(-logits[1])])
    return _mean(both, torch.cat([torch.ones_like(sure), sure]))
