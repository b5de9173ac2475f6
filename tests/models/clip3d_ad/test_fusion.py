# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import torch
from torch import nn

from anomalib_clip3dad.models.clip3d_ad.fusion import GlobalFusion, LocalFusion, align_tokens


def test_global_fusion_is_squeeze_and_excitation_over_views() -> None:
    fusion = GlobalFusion(num_views=5, embed_dim=8)
    for parameter in fusion.parameters():
        nn.init.normal_(parameter)
    cls = torch.randn(3, 5, 8)
    w1, b1, w2, b2 = (p.detach().numpy() for p in fusion.excite.parameters())
    project, bias = (p.detach().numpy() for p in fusion.project.parameters())
    for b in range(3):
        views = cls[b].numpy()
        squeezed = np.array([view.mean() for view in views])
        hidden = [x * 0.5 * (1 + math.erf(x / math.sqrt(2))) for x in w1 @ squeezed + b1]
        weights = 1 / (1 + np.exp(-(w2 @ np.array(hidden) + b2)))
        expected = project @ np.concatenate([w * view for w, view in zip(weights, views, strict=True)]) + bias
        np.testing.assert_allclose(fusion(cls)[b].detach().numpy(), expected, rtol=1e-4, atol=1e-5)


def test_untrained_global_fusion_is_the_mean_and_learns_to_weigh() -> None:
    fusion, cls = GlobalFusion(5, 8), torch.randn(2, 5, 8)
    torch.testing.assert_close(fusion(cls), cls.mean(dim=1))
    for _ in range(2):  # the gates start without weights, behind which the first layer feels nothing in the first step
        fusion(cls).square().sum().backward()
        torch.optim.SGD(fusion.parameters(), lr=0.1).step()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in fusion.parameters())


def test_local_fusion_averages_over_visible_views_only() -> None:
    norm, projection = nn.LayerNorm(16), torch.randn(16, 8)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    fusion = LocalFusion(norm, projection)
    tokens, visible = torch.randn(2, 3, 4, 16), torch.rand(2, 3, 4) > 0.4
    visible[0, :, 0] = False  # a patch that nobody sees
    fused = fusion(tokens, visible)
    for b in range(2):
        for j in range(4):
            seen = [tokens[b, k, j] for k in range(3) if visible[b, k, j]]  # blocks are the identity yet
            if not seen:
                assert not fused[b, j].any()
                continue
            torch.testing.assert_close(fused[b, j], norm(torch.stack(seen).mean(0)) @ projection)


def test_local_fusion_learns_without_touching_clip() -> None:
    norm, projection = nn.LayerNorm(16), nn.Parameter(torch.randn(16, 8))
    fusion = LocalFusion(norm, projection)
    before = projection.clone()
    fusion(torch.randn(2, 3, 4, 16), torch.ones(2, 3, 4, dtype=torch.bool)).square().sum().backward()
    torch.optim.SGD(fusion.parameters(), lr=0.1).step()
    assert norm.weight.grad is None
    assert projection.grad is None
    assert torch.equal(projection, before)
    assert not torch.allclose(fusion.project.weight.T, projection)


def align_by_hand(tokens: np.ndarray, positions: np.ndarray, visible: np.ndarray, grid: int) -> np.ndarray:
    """For one sample and view: mean position of each patch's visible pixels, tokens interpolated there."""
    size = len(positions)
    patch = size // grid
    field = tokens.reshape(grid, grid, -1)
    out = np.zeros_like(tokens)
    for j in range(grid * grid):
        row, column = patch * (j // grid), patch * (j % grid)
        inside = (slice(row, row + patch), slice(column, column + patch))
        if not visible[inside].any():
            continue
        u, v = positions[inside][visible[inside]].mean(0)
        x, y = ((p + 0.5) / patch - 0.5 for p in (u, v))  # pixel -> token coordinates, centres at integers
        x, y = np.clip((x, y), 0, grid - 1)
        x0, y0 = min(int(x), grid - 2), min(int(y), grid - 2)
        fx, fy = x - x0, y - y0
        out[j] = (
            (1 - fy) * ((1 - fx) * field[y0, x0] + fx * field[y0, x0 + 1])
            + fy * ((1 - fx) * field[y0 + 1, x0] + fx * field[y0 + 1, x0 + 1])
        )  # fmt: skip
    return out


def test_alignment_against_a_loop() -> None:
    grid, size = 3, 12
    tokens = torch.randn(2, 2, grid * grid, 5)
    positions = torch.rand(2, 2, size, size, 2) * (size + 4) - 2
    visible = torch.rand(2, 2, size, size) > 0.5
    visible[1, 0, :4, :4] = False
    aligned, seen = align_tokens(tokens, positions, visible, (grid, grid))
    assert not seen[1, 0, 0]
    assert seen.sum() == 35
    for b in range(2):
        for k in range(2):
            expected = align_by_hand(tokens[b, k].numpy(), positions[b, k].numpy(), visible[b, k].numpy(), grid)
            np.testing.assert_allclose(aligned[b, k].numpy(), expected, atol=1e-5)


def test_alignment_undoes_a_shift() -> None:
    """A view that shows everything one patch further right: token j comes from the patch to the right of j."""
    grid, patch = 3, 4
    tokens = torch.randn(1, 1, 9, 5)
    rows, columns = torch.meshgrid(torch.arange(12.0), torch.arange(12.0), indexing="ij")
    positions = torch.stack([columns + patch, rows], -1)[None, None]
    aligned, _ = align_tokens(tokens, positions, torch.ones(1, 1, 12, 12, dtype=torch.bool), (grid, grid))
    torch.testing.assert_close(aligned[0, 0, [0, 3, 6]], tokens[0, 0, [1, 4, 7]])


def test_positions_of_hidden_pixels_do_not_count() -> None:
    tokens, visible = torch.randn(1, 1, 4, 3), torch.zeros(1, 1, 8, 8, dtype=torch.bool)
    visible[..., 0, 0] = True
    positions = torch.full((1, 1, 8, 8, 2), torch.nan)
    positions[..., 0, 0, :] = 1.5  # the centre of patch 0
    aligned, _ = align_tokens(tokens, positions, visible, (2, 2))
    torch.testing.assert_close(aligned[0, 0, 0], tokens[0, 0, 0])
    assert not aligned[0, 0, 1:].any()
