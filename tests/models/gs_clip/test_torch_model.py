# SPDX-License-Identifier: Apache-2.0
"""Texts, streams and what the texts say of the views."""

import math

import open_clip
import pytest
import torch

from anomalib_clip3dad.clip import VisionTower, load_clip
from anomalib_clip3dad.clip.text_tower import TextTower
from anomalib_clip3dad.models.gs_clip.torch_model import GsClipModel, Views


@pytest.fixture
def model(tiny_clip: str) -> GsClipModel:
    torch.manual_seed(0)
    clip = load_clip(tiny_clip, None)
    return GsClipModel(VisionTower(clip.visual), TextTower(clip, open_clip.get_tokenizer(tiny_clip)), vv_from=2).eval()


def points(batch: int = 2) -> torch.Tensor:
    return torch.rand(batch, 1100, 3)


@torch.no_grad()
def test_stage_2_starts_with_the_result_of_stage_1(model: GsClipModel) -> None:
    """Section 13, check 1."""
    render = model.read(torch.rand(2, 3, 1, 48, 48))
    text = model.text(points())
    refined = model.compare(model.refine(render, torch.rand(2, 3, 1, 48, 48)), text)
    for found, expected in zip(refined, model.compare(render, text), strict=True):
        torch.testing.assert_close(found, expected)


@torch.no_grad()
def test_texts_are_the_same_each_time_and_depend_on_the_cloud(model: GsClipModel) -> None:
    """Section 13, check 6; the authors leave dropout and batch statistics on at test."""
    clouds = points()
    text = model.text(clouds)
    assert torch.equal(text, model.text(clouds))
    assert text.shape == (2, 2, 24)
    assert not torch.allclose(text[0, 1], text[1, 1], atol=1e-4)
    torch.testing.assert_close(model.text(clouds.flip(0)).flip(0), text)


@torch.no_grad()
def test_depth_goes_through_the_same_stream_in_training_and_at_test(model: GsClipModel) -> None:
    depth = torch.rand(1, 3, 1, 48, 48)
    render = model.read(torch.rand(1, 3, 1, 48, 48))
    torch.nn.init.normal_(model.refinement.join.weight)
    here = model.refine(render, depth)
    model.train()
    model.low_rank.dropout.p = 0.0
    torch.testing.assert_close(model.refine(render, depth).cls, here.cls)


def test_comparison_against_a_loop(model: GsClipModel) -> None:
    views, text = Views(torch.randn(2, 3, 24), torch.randn(2, 3, 9, 24)), torch.randn(2, 2, 24)
    judged = model.compare(views, text)

    def share(embedding: torch.Tensor, of: torch.Tensor) -> float:
        cosines = [float(embedding @ state / embedding.norm() / state.norm()) / 0.07 for state in of]
        return math.exp(cosines[1]) / (math.exp(cosines[0]) + math.exp(cosines[1]))

    for b in range(2):
        for v in range(3):
            assert judged.shares[b, v].item() == pytest.approx(share(views.cls[b, v], text[b]), abs=1e-5)
            grid = torch.tensor([share(patch, text[b]) for patch in views.patches[b, v]]).reshape(1, 1, 3, 3)
            large = torch.nn.functional.interpolate(grid, (48, 48), mode="bilinear", align_corners=False)[0, 0]
            torch.testing.assert_close(judged.maps[b, v], large)
    torch.testing.assert_close(judged.logits.softmax(-1)[..., 1], judged.shares)


def test_towers_are_frozen_and_shared(model: GsClipModel) -> None:
    """No second vision tower for the depth, which the authors copy before they load CLIP's weights."""
    trained = {name for name, value in model.named_parameters() if value.requires_grad}
    assert not any(name.startswith("tower.") for name in trained)
    # the parts of stage 1 and of stage 2
    assert {name.partition(".")[0] for name in trained} == {"points", "prompts", "low_rank", "refinement"}
    assert sum(1 for each in model.modules() if isinstance(each, VisionTower)) == 1


def test_the_blur_is_a_gaussian_of_4_pixels_at_336(model: GsClipModel) -> None:
    point = torch.zeros(1, 48, 48)
    point[0, 24, 24] = 1
    sigma = 4 * 48 / 336
    ratio = (model.smooth(point)[0, 24, 25] / model.smooth(point)[0, 24, 24]).item()
    assert ratio == pytest.approx(math.exp(-1 / (2 * sigma**2)), rel=1e-3)
