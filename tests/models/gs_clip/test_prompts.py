# SPDX-License-Identifier: Apache-2.0
"""Prompts that depend on the cloud."""

import open_clip
import pytest
import torch

from anomalib_clip3dad.clip import load_clip
from anomalib_clip3dad.clip.text_tower import TextTower
from anomalib_clip3dad.errors import InputError
from anomalib_clip3dad.models.gs_clip.point_net import PointFeatures
from anomalib_clip3dad.models.gs_clip.prompts import DefectDistiller, GeometryPrompts


@pytest.fixture(scope="module")
def text() -> TextTower:
    name = "ViT-Ti-Lite0-16-240"
    return TextTower(load_clip(name, None), open_clip.get_tokenizer(name))


def features(batch: int = 2) -> PointFeatures:
    return PointFeatures(torch.randn(batch, 200, 128), torch.randn(batch, 512))


def test_outlier_scores_against_a_loop() -> None:
    distiller, points = DefectDistiller(16), torch.randn(2, 20, 128)
    for sample in range(2):
        for point in range(20):
            cosines = [
                float(points[sample, point] @ p / points[sample, point].norm() / p.norm()) for p in distiller.prototypes
            ]
            assert distiller.scores(points)[sample, point].item() == pytest.approx(1 - max(cosines), abs=1e-5)


def test_distillation_against_the_formulas() -> None:
    distiller, points = DefectDistiller(16, tokens=3).eval(), torch.randn(1, 50, 128)
    worst = sorted(range(50), key=lambda i: -float(distiller.scores(points)[0, i]))[:12]
    chosen = points[0, worst] * distiller.scores(points)[0, worst, None]
    tokens = distiller.project(chosen)
    query, key, value = (tokens @ distiller.attention.in_proj_weight.T + distiller.attention.in_proj_bias).chunk(3, 1)
    heads = [
        (q @ k.T / 4**0.5).softmax(1) @ v
        for q, k, v in zip(query.chunk(4, 1), key.chunk(4, 1), value.chunk(4, 1), strict=True)
    ]
    attended = distiller.norm(tokens + distiller.attention.out_proj(torch.cat(heads, 1)))
    expected = (attended + torch.nn.functional.gelu(distiller.refine(attended)))[:3]
    torch.testing.assert_close(distiller(points)[0], expected)


def test_the_prototypes_learn() -> None:
    """The authors' code only takes places from the scores, so that the bank stays at its random start."""
    distiller = DefectDistiller(16)
    distiller(torch.randn(2, 50, 128)).square().sum().backward()
    grad = distiller.prototypes.grad
    assert grad is not None
    assert grad.any()


def test_layout(text: TextTower) -> None:
    """Section 11: 16 tokens with the end at 15, and 17 with the end at 16."""
    prompts = GeometryPrompts(text)
    tokens, ends, deep = prompts(features(), text, 2)
    assert tokens.shape == (4, 17, 96)
    assert ends.tolist() == [15, 16, 15, 16]
    assert deep is prompts.deep
    assert deep is not None
    assert deep.shape == (3, 4, 96)  # this tower has four blocks; eight of twelve in CLIP's
    for row, end in enumerate(ends):
        assert torch.equal(tokens[row, 0], text.start)
        assert torch.equal(tokens[row, end], text.end)
        assert torch.equal(tokens[row, end - 1], text.full_stop)
        assert torch.equal(tokens[row, 1:13], prompts.context[row % 2][0])
    # the same shape in both, the defect after it in the anomalous one
    assert torch.equal(tokens[0, 13], tokens[1, 13])
    assert not torch.equal(tokens[1, 13], tokens[3, 13])


@pytest.mark.parametrize(
    ("shape", "defect", "count", "ends"),
    [(False, True, 1, [14, 15]), (True, False, 1, [15, 15]), (True, True, 4, [15, 19])],
)
def test_parts_of_the_prompts_can_be_left_out(
    text: TextTower, shape: bool, defect: bool, count: int, ends: list[int]
) -> None:
    prompts = GeometryPrompts(text, shape, defect, count)
    assert prompts(features(1), text, 1).ends.tolist() == ends


def test_without_geometry_all_clouds_have_the_same_prompts(text: TextTower) -> None:
    tokens, ends, _ = GeometryPrompts(text, shape=False, defect=False)(None, text, 3)
    assert ends.tolist() == [14, 14] * 3
    assert torch.equal(tokens[0], tokens[4])


def test_bad_numbers_are_refused(text: TextTower) -> None:
    with pytest.raises(InputError, match="defect_tokens=0: a number from 1 to 12"):
        GeometryPrompts(text, defect_tokens=0)
    short = TextTower(load_clip("ViT-Ti-Lite0-16-240", None), open_clip.get_tokenizer("ViT-Ti-Lite0-16-240"))
    short.positions = short.positions[:16]
    with pytest.raises(InputError, match="prompts have 17 tokens, this text tower reads 16"):
        GeometryPrompts(short)
