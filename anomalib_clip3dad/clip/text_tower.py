# SPDX-License-Identifier: Apache-2.0
"""The frozen text tower, read from embeddings in place of words, with learnable tokens in deeper blocks."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from anomalib_clip3dad.errors import InputError


def embed_words(clip: Any, tokenizer: Callable[[list[str]], Tensor], text: str) -> Tensor:
    """Look up the embeddings of words, without start and end.

    Args:
        clip: An open_clip model with open_clip's own text transformer.
        tokenizer: Its tokenizer.
        text: Any words.

    Returns:
        (n, D), one row per token.
    """
    words = tokenizer([text])[0]
    inner = words[1 : int(words.argmax())]
    return getattr(clip, "text", clip).token_embedding.weight.data[inner].clone()


class TextTower(nn.Module):
    """CLIP's frozen text tower behind its table of words.

    GS-CLIP, sections 4.4 and 11: the words of its prompts are learned, so only the fixed ones are kept.

    Args:
        clip: An open_clip model with open_clip's own text transformer.
        tokenizer: Its tokenizer: list of N strings -> (N, context length) integers.

    Raises:
        ValueError: If the text tower is of another kind.
    """

    start: Tensor
    full_stop: Tensor
    end: Tensor
    mask: Tensor
    positions: Tensor
    projection: Tensor

    def __init__(self, clip: Any, tokenizer: Callable[[list[str]], Tensor]) -> None:
        super().__init__()
        text = getattr(clip, "text", clip)
        pooling = getattr(text, "pool_type", getattr(text, "text_pool_type", "argmax"))
        parts = ("transformer", "token_embedding", "positional_embedding", "ln_final", "text_projection", "attn_mask")
        if not all(getattr(text, part, None) is not None for part in parts) or pooling != "argmax":
            msg = (
                "clip_model: a text transformer of open_clip's own kind, read at the end of the text, is needed; this "
            )
            msg += f"one has a {type(text).__name__}"
            raise InputError(msg)
        self.blocks, self.final_norm = text.transformer.resblocks, text.ln_final
        projection = text.text_projection
        self.register_buffer(
            "projection", projection.weight.T if isinstance(projection, nn.Linear) else projection.data
        )
        self.register_buffer("positions", text.positional_embedding.data)
        self.register_buffer("mask", text.attn_mask, persistent=False)
        self.batch_first = getattr(text.transformer, "batch_first", False)
        words = tokenizer(["."])[0, :3]  # start, full stop, end
        for name, word in zip(("start", "full_stop", "end"), words, strict=True):
            self.register_buffer(name, text.token_embedding.weight.data[word].clone())
        self.requires_grad_(requires_grad=False).train(mode=False)

    @property
    def width(self) -> int:
        """Width of a word's embedding."""
        return self.positions.shape[1]

    @property
    def context_length(self) -> int:
        """Largest number of tokens, with start and end."""
        return self.positions.shape[0]

    def train(self, mode: bool = True) -> "TextTower":  # noqa: ARG002
        """Stay in evaluation mode: the tower is frozen."""
        return super().train(mode=False)

    def forward(self, tokens: Tensor, ends: Tensor, deep: Tensor | None = None) -> Tensor:
        """Embed texts.

        Args:
            tokens: (P, T, D), embeddings of words, the first `start`; whatever follows the end is not seen.
            ends: (P,) int64, where each text has `end`.
            deep: (n, m, D), tokens that replace those at the places 1 to m before the second, third ... block (MaPLe's
                deep prompts); None for none. Of more than there are blocks, the last are not used.

        Returns:
            (P, C), in the space shared with images, of any length.
        """
        count = tokens.shape[1]
        hidden = tokens + self.positions[:count]
        for number, block in enumerate(self.blocks):
            if deep is not None and 0 < number <= len(deep):
                learned = deep[number - 1].expand(hidden.shape[0], -1, -1)
                hidden = torch.cat([hidden[:, :1], learned, hidden[:, 1 + learned.shape[1] :]], dim=1)
            if self.batch_first:
                hidden = block(hidden, attn_mask=self.mask[:count, :count])
            else:
                hidden = block(hidden.transpose(0, 1), attn_mask=self.mask[:count, :count]).transpose(0, 1)
        at_end = hidden.gather(1, ends[:, None, None].expand(-1, 1, hidden.shape[2]))[:, 0]
        return self.final_norm(at_end) @ self.projection
