# SPDX-License-Identifier: Apache-2.0
import torch
from torch import nn

from anomalib_clip3dad.models.clip3d_ad.decoder import CoarseToFineDecoder


def make(num_layers: int = 3) -> tuple[CoarseToFineDecoder, nn.LayerNorm, torch.Tensor]:
    norm = nn.LayerNorm(16)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    projection = torch.randn(16, 8)
    return CoarseToFineDecoder(norm, projection, num_layers), norm, projection


def test_untrained_is_clips_own_projection_of_the_deepest_block() -> None:
    decoder, norm, projection = make()
    tokens = [torch.randn(2, 5, 16) for _ in range(3)]
    torch.testing.assert_close(decoder(tokens), norm(tokens[-1]) @ projection)


def test_concatenation_in_the_order_given() -> None:
    """Eq. 8 before the blocks: one linear map of the concatenated, normalised tokens."""
    decoder, norm, _ = make()
    nn.init.normal_(decoder.to_embedding.weight)
    tokens = [torch.randn(2, 5, 16) for _ in range(3)]
    weight = decoder.to_embedding.weight
    expected = sum(norm(layer) @ weight[:, 16 * i : 16 * (i + 1)].T for i, layer in enumerate(tokens))
    torch.testing.assert_close(decoder(tokens), expected)


def test_learns_from_every_block_without_touching_clip() -> None:
    decoder, norm, _ = make()
    decoder([torch.randn(2, 5, 16) for _ in range(3)]).square().sum().backward()
    gradient = decoder.to_embedding.weight.grad
    assert gradient is not None
    assert all(gradient[:, 16 * i : 16 * (i + 1)].abs().sum() > 0 for i in range(3))
    assert norm.weight.grad is None
