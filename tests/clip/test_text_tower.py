# SPDX-License-Identifier: Apache-2.0
"""The text tower read from embeddings, against open_clip's own."""

from typing import Any

import open_clip
import pytest
import torch
from torch import nn

from anomalib_clip3dad.clip import load_clip
from anomalib_clip3dad.clip.text_tower import TextTower
from anomalib_clip3dad.errors import InputError


@pytest.fixture(scope="module", params=["ViT-Ti-Lite0-16-240", "ViT-S-16-alt"])
def clip(request: pytest.FixtureRequest) -> tuple[Any, TextTower, Any]:
    model, tokenizer = load_clip(request.param, None), open_clip.get_tokenizer(request.param)
    return model, TextTower(model, tokenizer), tokenizer


def test_the_embeddings_of_words_give_open_clips_text(clip: tuple[Any, TextTower, Any]) -> None:
    model, tower, tokenizer = clip
    words = tokenizer(["a damaged gear.", "cup"])
    ends = words.argmax(dim=1)
    with torch.no_grad():
        tokens = model.token_embedding(words)
        expected = model.encode_text(words)
        # whatever follows the end is not seen, so it may as well not be there
        for kept in (tokens, tokens[:, : int(ends.max()) + 1]):
            torch.testing.assert_close(tower(kept, ends), expected)
        assert torch.equal(tower.start, tokens[0, 0])
        assert torch.equal(tower.end, tokens[1, ends[1]])
        assert torch.equal(tower.full_stop, tokens[0, ends[0] - 1])


def test_deep_tokens_take_the_places_after_the_start_before_later_blocks(clip: tuple[Any, TextTower, Any]) -> None:
    _, tower, _ = clip
    blocks = len(tower.blocks)
    tokens, ends, deep = torch.rand(2, 9, tower.width), torch.tensor([8, 6]), torch.rand(2, 4, tower.width)
    with torch.no_grad():
        hidden = tokens + tower.positions[:9]
        for number, block in enumerate(tower.blocks):
            if number in (1, 2):
                hidden = hidden.clone()
                hidden[:, 1:5] = deep[number - 1]
            hidden = block(hidden.transpose(0, 1), attn_mask=tower.mask[:9, :9]).transpose(0, 1)
        expected = torch.stack([tower.final_norm(hidden[i, ends[i]]) @ tower.projection for i in range(2)])
        torch.testing.assert_close(tower(tokens, ends, deep), expected)
        # what they replace is not seen by later blocks
        assert not torch.allclose(tower(tokens, ends), expected)
    assert blocks > 3  # so that deeper blocks follow


def test_it_stays_frozen_and_keeps_no_table_of_words(clip: tuple[Any, TextTower, Any]) -> None:
    _, tower, _ = clip
    assert not any(value.requires_grad for value in tower.train().parameters())
    assert not tower.blocks[0].training
    assert not any(len(value) > 40_000 for value in tower.state_dict().values())


def test_other_text_towers_are_refused() -> None:
    with pytest.raises(InputError, match="this one has a Linear"):
        TextTower(nn.Linear(2, 2), lambda _: torch.zeros(1, 3))
