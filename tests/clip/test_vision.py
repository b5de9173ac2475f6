# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from anomalib_clip3dad.clip import VisionTower, load_clip

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def test_cls_is_open_clips_own(tiny_clip: str) -> None:
    clip = load_clip(tiny_clip, None)
    tower = VisionTower(clip.visual, [1, 3])
    images = torch.rand(3, 3, 48, 48)
    normalised = (images - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    with torch.no_grad():
        assert torch.equal(tower(images).cls, clip.encode_image(normalised))


def test_tokens_are_those_of_the_asked_blocks(tiny_clip: str) -> None:
    """Against a loop over the blocks written out by hand, for blocks asked in any order."""
    clip = load_clip(tiny_clip, None)
    visual = clip.visual
    images = torch.rand(2, 3, 48, 48)
    tower = VisionTower(visual, [3, 1])
    with torch.no_grad():
        patches = visual.conv1((images - tower.mean) / tower.std).flatten(2).mT
        x = torch.cat([visual.class_embedding.expand(2, 1, -1), patches], 1) + visual.positional_embedding
        x = visual.ln_pre(x).transpose(0, 1)
        expected = []
        for block in visual.transformer.resblocks:
            x = block(x)
            expected.append(x.transpose(0, 1)[:, 1:])
        cls, tokens = tower(images)
    torch.testing.assert_close(tokens[0], expected[2])
    torch.testing.assert_close(tokens[1], expected[0])
    assert not torch.allclose(tokens[0], tokens[1])
    assert cls.shape == (2, 24)


def test_a_transformer_of_timm_is_read_as_open_clips_own() -> None:
    """[CLS] of open_clip's `encode_image`, tokens of a loop over the blocks, norm and projection that lead to [CLS]."""
    clip = load_clip("ViT-Ti-Lite0-16-240", None)
    tower, trunk = VisionTower(clip.visual, [1, 4]), clip.visual.trunk
    images = torch.rand(2, 3, 240, 240)
    normalised = (images - tower.mean) / tower.std
    with torch.no_grad():
        x = torch.cat([trunk.cls_token.expand(2, -1, -1), trunk.patch_embed(normalised)], 1) + trunk.pos_embed
        expected = [x := block(x) for block in trunk.blocks]
        cls, tokens = tower(images)
        torch.testing.assert_close(cls, clip.encode_image(normalised))
        torch.testing.assert_close(tower.final_norm(expected[3])[:, 0] @ tower.projection, cls)
    torch.testing.assert_close(tokens[0], expected[0][:, 1:])
    torch.testing.assert_close(tokens[1], expected[3][:, 1:])
    assert (tower.image_size, tower.grid_size, tower.width, tower.embed_dim) == (240, (15, 15), 192, 192)


def test_without_layers_it_takes_half_three_quarters_and_all(tiny_clip: str) -> None:
    assert VisionTower(load_clip("ViT-S-16-alt", None).visual).layers == (6, 9, 12)
    assert VisionTower(load_clip(tiny_clip, None).visual, with_last=True).layers == (2, 3, 3)


def test_shapes_come_from_the_model(tiny_clip: str) -> None:
    tower = VisionTower(load_clip(tiny_clip, None).visual, [1])
    assert (tower.image_size, tower.grid_size, tower.width, tower.embed_dim) == (48, (3, 3), 64, 24)


def test_frozen_and_never_in_training_mode(tiny_clip: str) -> None:
    tower = VisionTower(load_clip(tiny_clip, None).visual, [1]).train()
    assert not any(module.training for module in tower.modules())
    assert not any(parameter.requires_grad for parameter in tower.parameters())
    assert not tower(torch.rand(1, 3, 48, 48, requires_grad=True)).cls.requires_grad


def test_exports_with_a_free_batch(tiny_clip: str) -> None:
    tower = VisionTower(load_clip(tiny_clip, None).visual, [1, 3])
    program = torch.export.export(
        tower, (torch.rand(2, 3, 48, 48),), dynamic_shapes=({0: torch.export.Dim("batch")},), strict=False
    )
    images = torch.rand(5, 3, 48, 48)
    for exported, eager in zip(program.module()(images).tokens, tower(images).tokens, strict=True):
        torch.testing.assert_close(exported, eager)


def test_several_passes_give_what_one_does(tiny_clip: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tower = VisionTower(load_clip(tiny_clip, None).visual, [1, 2], with_last=True)
    images = torch.rand(7, 3, 48, 48)
    whole = tower(images)
    assert tower.images_per_pass > 7
    monkeypatch.setattr(VisionTower, "images_per_pass", 3)
    assert tower._read(images[:3], 3).cls.shape == (3, 24)
    for num_deep in (None, 0, 2, 3, 5, 7):
        parts = tower(images, num_deep)
        torch.testing.assert_close(parts.cls, whole.cls)
        torch.testing.assert_close(parts.tokens[-1], whole.tokens[-1])
        for part, expected in zip(parts.tokens[:-1], whole.tokens[:-1], strict=True):
            torch.testing.assert_close(part, expected[:num_deep])


def test_tokens_that_nobody_asked_for_are_not_kept(tiny_clip: str) -> None:
    tower = VisionTower(load_clip(tiny_clip, None).visual, [1, 2], with_last=True)
    for layer in tower(torch.rand(7, 3, 48, 48), 2).tokens[:-1]:
        assert layer.untyped_storage().nbytes() == 2 * 9 * 64 * 4


def test_a_pass_of_a_large_tower_stays_within_its_memory() -> None:
    """12 tokens' width of float32 is what a block surely needs: input, q, k, v, and the MLP's 4 twice."""
    tower = VisionTower(load_clip("ViT-S-16-alt", None).visual)
    needed = tower.images_per_pass * 197 * 384 * 12 * 4
    assert 2**27 < needed < 2**29


@pytest.mark.parametrize("layers", [[0], [4], []])
def test_blocks_that_are_not_there(tiny_clip: str, layers: list[int]) -> None:
    with pytest.raises(ValueError, match="count from 1 to 3"):
        VisionTower(load_clip(tiny_clip, None).visual, layers)


def test_images_of_another_size(tiny_clip: str) -> None:
    tower = VisionTower(load_clip(tiny_clip, None).visual, [1])
    with pytest.raises(ValueError, match=r"\(N, 3, 48, 48\).*\(1, 3, 32, 48\)"):
        tower(torch.rand(1, 3, 32, 48))


def test_the_last_block_behind_the_others(tiny_clip: str) -> None:
    tower = VisionTower(load_clip(tiny_clip, None).visual, [1, 2], with_last=True)
    assert tower.layers == (1, 2, 3)


@pytest.mark.parametrize("name", ["RN50", "coca_ViT-B-32"])
def test_towers_that_are_no_plain_vision_transformer(name: str) -> None:
    with pytest.raises(ValueError, match=r"a vision transformer with a .CLS. token.*is needed"):
        VisionTower(load_clip(name, None).visual, [1])
