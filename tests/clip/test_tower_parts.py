# SPDX-License-Identifier: Apache-2.0
"""Parts of both kinds of vision transformers."""

import threading

import pytest
import torch
from torch import nn

from anomalib_clip3dad.clip import load_clip
from anomalib_clip3dad.clip.tower_parts import find_parts, hooked
from anomalib_clip3dad.errors import InputError


def slow_value_attention(values: torch.Tensor, heads: int) -> torch.Tensor:
    """softmax(v v^T / sqrt(d)) v for each head, written out."""
    each = []
    for part in values.chunk(heads, dim=-1):
        weights = (part @ part.mT / part.shape[-1] ** 0.5).softmax(dim=-1)
        each.append(weights @ part)
    return torch.cat(each, dim=-1)


def test_values_attend_to_values_in_open_clips_blocks(tiny_clip: str) -> None:
    visual = load_clip(tiny_clip, None).visual
    parts, block = find_parts(visual), visual.transformer.resblocks[1]
    hidden = torch.rand(10, 2, 64)  # tokens first, as open_clip 2.24's blocks have them
    assert not parts.batch_first
    tokens = block.ln_1(hidden.transpose(0, 1))
    values = (tokens @ block.attn.in_proj_weight.T + block.attn.in_proj_bias)[..., 128:]
    expected = block.attn.out_proj(slow_value_attention(values, block.attn.num_heads))
    torch.testing.assert_close(parts.attend_to_values(block, hidden), expected)
    assert parts.mlp(block) == (block.mlp.c_fc, block.mlp.c_proj)


def test_values_attend_to_values_in_timms_blocks() -> None:
    visual = load_clip("ViT-Ti-Lite0-16-240", None).visual
    parts, block = find_parts(visual), visual.trunk.blocks[2]
    hidden = torch.rand(2, 10, 192)
    values = block.attn.qkv(block.norm1(hidden))[..., 384:]
    expected = block.attn.proj(slow_value_attention(values, block.attn.num_heads))
    torch.testing.assert_close(parts.attend_to_values(block, hidden), expected)
    assert parts.mlp(block) == (block.mlp.fc1, block.mlp.fc2)


def test_other_towers_are_refused() -> None:
    with pytest.raises(InputError, match="this one has a Linear"):
        find_parts(nn.Linear(2, 2))


def test_hooks_change_outputs_in_this_thread_only_and_go() -> None:
    layer, given = nn.Identity(), torch.ones(1)
    elsewhere = []
    with hooked([(layer, lambda first, output: first + 2 * output)]):
        assert layer(given).item() == 3
        other = threading.Thread(target=lambda: elsewhere.append(layer(given).item()))
        other.start()
        other.join()
    assert elsewhere == [1]
    assert layer(given).item() == 1
