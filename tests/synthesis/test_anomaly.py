# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from anomalib_clip3dad.synthesis import TextureSource, synthesise
from tests.conftest import bumpy_part

Part = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


class Black(TextureSource):
    """One known texture, so that blending can be computed by hand."""

    def draw(self, image: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(image)


@pytest.fixture
def part() -> Part:
    """Image, cloud, foreground."""
    image, xyz = bumpy_part(48, 64)
    foreground = torch.zeros(48, 64, dtype=torch.bool)
    foreground[5:40, 10:50] = True
    return image * 0.5 + 0.5, xyz, foreground & (xyz[2] > 0)


@pytest.mark.parametrize("geometry", [0.0, 1.0])
def test_only_the_mask_changes(part: Part, geometry: float) -> None:
    image, xyz, foreground = part
    for seed in range(5):
        torch.manual_seed(seed)
        made = synthesise(*part, TextureSource(), geometry=geometry)
        assert made.mask.any()
        assert not (made.mask & ~foreground).any()
        assert torch.equal(made.image[:, ~made.mask], image[:, ~made.mask])
        assert torch.equal(made.xyz[:, ~made.mask], xyz[:, ~made.mask])
        seen = (made.image - image).abs()[:, made.mask].mean() > 0.005
        assert seen or geometry
        assert torch.equal(made.xyz, xyz) == (geometry == 0)


def test_blend_formula(part: Part) -> None:
    """x- = (1 - opacity) x+ + opacity texture inside the mask, one opacity per image within the range."""
    image, opacities = part[0], set()
    for _ in range(3):
        made = synthesise(*part, Black(), opacity=(0.3, 0.6))
        kept = (made.image / image)[:, made.mask]
        torch.testing.assert_close(kept, kept[0, 0].expand_as(kept))
        opacities.add(1 - kept[0, 0].item())
    assert all(0.3 <= opacity <= 0.6 for opacity in opacities)
    assert len(opacities) == 3


def test_shares_of_anomalies_in_the_cloud(part: Part) -> None:
    """Of those in the cloud half leave the colours alone; the rest of all are in the colours."""
    made = [synthesise(*part, Black(), opacity=(0.5, 0.5), geometry=0.6) for _ in range(300)]
    in_cloud = [not torch.equal(sample.xyz, part[1]) for sample in made]
    in_colour = [not torch.equal(sample.image, part[0]) for sample in made]
    assert sum(in_cloud) / 300 == pytest.approx(0.6, abs=0.08)
    assert sum(in_colour) / 300 == pytest.approx(0.7, abs=0.08)
    assert all(one or other for one, other in zip(in_cloud, in_colour, strict=True))


def test_same_seed_same_anomaly(part: Part) -> None:
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(synthesise(*part, TextureSource(), geometry=0.5))
    assert all(torch.equal(one, other) for one, other in zip(drawn[0], drawn[1], strict=True))
    assert not torch.equal(drawn[0].image, drawn[2].image)
