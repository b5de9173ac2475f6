# SPDX-License-Identifier: Apache-2.0
"""The V-V stream and the low-rank additions against loops over the blocks."""

from typing import Any

import pytest
import torch

from anomalib_clip3dad.clip import VisionTower, load_clip
from anomalib_clip3dad.clip.streams import LowRank, check_first_block, normalised, read_stream
from anomalib_clip3dad.errors import InputError


@pytest.fixture(scope="module")
def tower(tiny_clip: str) -> VisionTower:
    return VisionTower(load_clip(tiny_clip, None).visual)


def before_the_blocks(tower: VisionTower, images: torch.Tensor) -> torch.Tensor:
    visual: Any = tower.visual
    patches = visual.conv1(tower.normalised(images)).flatten(2).mT
    x = torch.cat([visual.class_embedding.expand(len(images), 1, -1), patches], 1) + visual.positional_embedding
    return visual.ln_pre(x)


@pytest.mark.parametrize("first", [1, 2, 3])
def test_vv_stream_against_a_loop(tower: VisionTower, first: int) -> None:
    """Section 13, check 2: the image's embedding stays open_clip's own, the patches come from the side stream."""
    images = torch.rand(2, 3, 48, 48)
    with torch.no_grad():
        h = before_the_blocks(tower, images)
        u = None
        for number, block in enumerate(tower.parts.blocks, start=1):
            if number == first:
                u = h
            if u is not None:
                u = u + tower.parts.attend_to_values(block, h.transpose(0, 1))
            h = block(h.transpose(0, 1)).transpose(0, 1)
        assert u is not None
        expected = tower.final_norm(u[:, 1:]) @ tower.projection
    found = read_stream(tower, images, vv_from=first)
    torch.testing.assert_close(found.patches, expected)
    torch.testing.assert_close(found.cls, tower(images).cls)
    assert not torch.allclose(found.patches, read_stream(tower, images).patches)


def test_without_vv_the_patches_are_clips_own(tower: VisionTower) -> None:
    images = torch.rand(2, 3, 48, 48)
    tokens = tower(images).tokens[-1]
    expected = tower.final_norm(tokens) @ tower.projection
    torch.testing.assert_close(read_stream(tower, images).patches, expected)


def test_several_passes_are_one(tower: VisionTower, monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.rand(5, 3, 48, 48)
    whole = read_stream(tower, images, vv_from=2)
    monkeypatch.setattr(VisionTower, "images_per_pass", 2)
    for one, several in zip(whole, read_stream(tower, images, vv_from=2), strict=True):
        torch.testing.assert_close(one, several)


def test_low_rank_additions_start_at_nothing_and_share_the_frozen_weights(tower: VisionTower) -> None:
    images, low_rank = torch.rand(2, 3, 48, 48), LowRank(tower).eval()
    for plain, same in zip(read_stream(tower, images, 2), read_stream(tower, images, 2, low_rank), strict=True):
        assert torch.equal(plain, same.detach())
    widths = 64 + 256
    assert sum(value.numel() for value in low_rank.parameters()) == 3 * 2 * 8 * widths  # nothing of the tower
    assert set(low_rank.state_dict()) == {f"{side}.{i}.weight" for side in ("down", "up") for i in range(6)}


def test_gradients_of_a_few_images_at_a_time_are_those_of_all(
    tower: VisionTower, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, low_rank = torch.rand(3, 3, 48, 48), LowRank(tower).eval()
    for each in low_rank.up:
        torch.nn.init.normal_(each.weight, std=0.1)
    read: list[int] = []
    hook = tower.parts.blocks[0].register_forward_pre_hook(lambda _, given: read.append(given[0].shape[1]))
    gradients = []
    for memory in (10**6, 2 * len(tower.parts.blocks), 1):  # all, two, or one image at a time
        monkeypatch.setattr(VisionTower, "images_per_pass", memory)
        seen = read_stream(tower, images, 2, low_rank)
        (seen.cls.square().sum() + seen.patches.square().sum()).backward()
        gradients.append(torch.cat([value.grad.flatten() for value in low_rank.parameters()]))
        low_rank.zero_grad()
    hook.remove()
    assert read == [3, *[2, 1], *[1, 2], *[1] * 3, *[1] * 3]  # those of several passes are read again
    assert gradients[0].abs().max() > 0
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(gradients[2], gradients[0], rtol=1e-4, atol=1e-5)


def test_low_rank_additions_against_a_loop(tower: VisionTower) -> None:
    """x' = W x + 2 B A x in both layers of every MLP."""
    low_rank, images = LowRank(tower).eval(), torch.rand(1, 3, 48, 48)
    for each in low_rank.up:
        torch.nn.init.normal_(each.weight, std=0.1)
    with torch.no_grad():
        h = before_the_blocks(tower, images)
        for number, block in enumerate(tower.parts.blocks):
            attended = block.attention(block.ln_1(h.transpose(0, 1))).transpose(0, 1)
            x = h + attended
            hidden = block.ln_2(x)
            for place, layer in ((2 * number, block.mlp.c_fc), (2 * number + 1, block.mlp.c_proj)):
                down, up = low_rank.down[place].weight, low_rank.up[place].weight
                hidden = layer(hidden) + 2 * hidden @ down.T @ up.T
                hidden = block.mlp.gelu(hidden) if layer is block.mlp.c_fc else hidden
            h = x + hidden
        expected = tower.final_norm(h) @ tower.projection
    found = read_stream(tower, images, None, low_rank)
    torch.testing.assert_close(found.cls, expected[:, 0])
    torch.testing.assert_close(found.patches, expected[:, 1:])


def test_low_rank_additions_learn_and_the_tower_does_not(tower: VisionTower) -> None:
    """The authors' code runs the tower without gradients, so that its additions never train."""
    low_rank = LowRank(tower).train()
    found = read_stream(tower, torch.rand(2, 3, 48, 48), None, low_rank)
    (found.cls.square().sum() + found.patches.square().sum()).backward()
    assert all(each.weight.grad is not None and each.weight.grad.any() for each in low_rank.up)
    assert all(value.grad is None for value in tower.parameters())
    assert not read_stream(tower, torch.rand(1, 3, 48, 48)).cls.requires_grad


def test_blocks_that_are_not_there(tower: VisionTower) -> None:
    check_first_block(tower, None)
    check_first_block(tower, 3)
    for wrong in (0, 4):
        with pytest.raises(InputError, match=f"vv_from={wrong}: the blocks of this CLIP count from 1 to 3"):
            check_first_block(tower, wrong)


def test_unit_length(tower: VisionTower) -> None:
    for field in normalised(read_stream(tower, torch.rand(2, 3, 48, 48))):
        torch.testing.assert_close(field.norm(dim=-1), torch.ones(field.shape[:-1]))
