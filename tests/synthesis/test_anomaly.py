# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from anomalib_clip3dad.synthesis import TextureSource, synthesise


class Black(TextureSource):
    """One known texture, so that blending can be computed by hand."""

    def draw(self, image: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(image)


@pytest.fixture
def parts() -> tuple[torch.Tensor, torch.Tensor]:
    foreground = torch.zeros(3, 48, 64, dtype=torch.bool)
    for i in range(3):
        foreground[i, 5 + 5 * i : 40, 10 : 50 - 5 * i] = True
    return torch.rand(3, 3, 48, 64) * 0.5 + 0.5, foreground


def test_only_the_mask_changes(parts: tuple[torch.Tensor, torch.Tensor]) -> None:
    images, foreground = parts
    anomalous, masks = synthesise(images, foreground, TextureSource())
    assert not (masks & ~foreground).any()
    assert masks.flatten(1).any(1).all()
    outside = ~masks[:, None].expand_as(images)
    assert torch.equal(anomalous[outside], images[outside])
    for image, changed, mask in zip(images, anomalous, masks, strict=True):
        assert (changed - image).abs()[:, mask].mean() > 0.005


def test_blend_formula(parts: tuple[torch.Tensor, torch.Tensor]) -> None:
    """x- = (1 - opacity) x+ + opacity texture inside the mask, one opacity per image within the range."""
    images, foreground = parts
    anomalous, masks = synthesise(images, foreground, Black(), opacity=(0.3, 0.6))
    opacities = []
    for image, changed, mask in zip(images, anomalous, masks, strict=True):
        kept = (changed / image)[:, mask]
        torch.testing.assert_close(kept, kept[0, 0].expand_as(kept))
        opacities.append(1 - kept[0, 0].item())
    assert all(0.3 <= opacity <= 0.6 for opacity in opacities)
    assert len(set(opacities)) == 3


def test_same_seed_same_anomaly(parts: tuple[torch.Tensor, torch.Tensor]) -> None:
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(synthesise(*parts, TextureSource()))
    assert torch.equal(drawn[0][0], drawn[1][0])
    assert torch.equal(drawn[0][1], drawn[1][1])
    assert not torch.equal(drawn[0][0], drawn[2][0])
