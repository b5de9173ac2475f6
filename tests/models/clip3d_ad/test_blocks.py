# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from anomalib_clip3dad.models.clip3d_ad.blocks import identity_blocks


@pytest.mark.parametrize(("width", "heads"), [(640, 10), (896, 14), (192, 3), (24, 3), (96, 3), (64, 1)])
def test_heads(width: int, heads: int) -> None:
    assert identity_blocks(width, 1)[0].attn.num_heads == heads


def test_start_as_the_identity_and_attend_when_trained() -> None:
    blocks, x = identity_blocks(24, 2), torch.randn(2, 5, 24)
    assert torch.equal(blocks(x), x)
    torch.nn.init.normal_(blocks[0].attn.proj.weight)
    other = x.clone()
    other[:, 4] = torch.randn(24)
    assert not torch.allclose(blocks(x)[:, 0], blocks(other)[:, 0])
