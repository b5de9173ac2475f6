# SPDX-License-Identifier: Apache-2.0
"""The transformer block that decoder and fusion are built from."""

from math import gcd
from typing import Any

from timm.models.vision_transformer import Block
from torch import nn


def identity_blocks(width: int, depth: int) -> nn.Sequential:
    """Stack pre-norm transformer blocks that start as the identity.

    The paper gives neither their width nor their start; the last layer of each branch starts at zero, so that what
    comes after them begins with CLIP's own tokens.

    Args:
        width: Width of the tokens.
        depth: Number of blocks.

    Returns:
        (N, T, width) -> (N, T, width). Heads are 64 wide, as CLIP's, or narrower where 64 does not divide the width.
    """
    blocks: list[Any] = [Block(width, num_heads=width // gcd(width, 64), qkv_bias=True) for _ in range(depth)]
    for block in blocks:
        for last in (block.attn.proj, block.mlp.fc2):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
    return nn.Sequential(*blocks)
