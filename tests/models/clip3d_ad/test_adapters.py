# SPDX-License-Identifier: Apache-2.0
import torch
from torch.nn import functional

from anomalib_clip3dad.models.clip3d_ad.adapters import Adapter


def test_formula() -> None:
    adapter = Adapter(8, ratio=0.3)
    torch.nn.init.normal_(adapter.up.weight)
    torch.nn.init.normal_(adapter.up.bias)
    x = torch.randn(2, 8)
    hidden = torch.relu(x @ adapter.down.weight.T + adapter.down.bias)
    expected = 0.3 * (hidden @ adapter.up.weight.T + adapter.up.bias) + 0.7 * x
    assert adapter.down.weight.shape == (2, 8)  # C -> C/4
    torch.testing.assert_close(adapter(x), expected)


def test_untrained_keeps_the_direction_and_learns_at_once() -> None:
    adapter, x = Adapter(8), torch.randn(5, 8)
    torch.testing.assert_close(functional.cosine_similarity(adapter(x), x), torch.ones(5))
    adapter(x).sum().backward()
    assert adapter.up.weight.grad is not None
    assert adapter.up.weight.grad.abs().sum() > 0
