# SPDX-License-Identifier: Apache-2.0
"""Losses of both stages, put together by hand."""

import open_clip
import pytest
import torch

from anomalib_clip3dad.clip import VisionTower, load_clip
from anomalib_clip3dad.clip.text_tower import TextTower
from anomalib_clip3dad.models.gs_clip.loss import LOSSES, cloud_loss, consistency_loss, dice_loss, focal_loss, view_loss
from anomalib_clip3dad.models.gs_clip.stages import Known, stage_losses
from anomalib_clip3dad.models.gs_clip.torch_model import GsClipModel, Views


@pytest.fixture(scope="module")
def model(tiny_clip: str) -> GsClipModel:
    torch.manual_seed(0)
    clip = load_clip(tiny_clip, None)
    model = GsClipModel(VisionTower(clip.visual), TextTower(clip, open_clip.get_tokenizer(tiny_clip)))
    torch.nn.init.normal_(model.refinement.join.weight, std=0.1)
    return model.eval()


@pytest.fixture(scope="module")
def known() -> Known:
    torch.manual_seed(1)
    mask = torch.rand(2, 100) < 0.2
    return Known(
        cls=torch.randn(2, 3, 24),
        patches=torch.randn(2, 3, 9, 24),
        depth=torch.rand(2, 3, 1, 48, 48),
        cells=torch.randint(0, 48 * 48, (2, 3, 100)),
        visible=torch.rand(2, 3, 100) < 0.5,
        truth=torch.rand(2, 3, 48, 48) < 0.1,
        mask=mask,
        part=(torch.rand(2, 100) < 0.8) | mask,
        points=torch.rand(2, 1024, 3),
    )


@pytest.mark.parametrize("second", [False, True])
@torch.no_grad()
def test_against_the_losses_put_together(model: GsClipModel, known: Known, second: bool) -> None:
    views = Views(known.cls, known.patches)
    if second:
        views = model.refine(views, known.depth)
    judged = model.compare(views, model.text(known.points))
    on_points = torch.zeros(2, 100)
    for b in range(2):
        for n in range(100):
            seen = [judged.maps[b, v].flatten()[known.cells[b, v, n]] for v in range(3) if known.visible[b, v, n]]
            on_points[b, n] = sum(seen) / len(seen) if seen else 0
    counted = known.part & known.visible.any(dim=1)
    expected = {
        "views": view_loss(judged.logits, known.truth.any(dim=3).any(dim=2)),
        "cloud": cloud_loss(judged.logits, known.mask.any(dim=1)),
        "points": dice_loss(on_points, known.mask, counted),
        "pixels": focal_loss(judged.maps, known.truth) + dice_loss(judged.maps, known.truth),
        "consistency": 0.3 * consistency_loss(views.cls),
    }
    found = stage_losses(model, known, second, LOSSES)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)


def test_only_what_is_asked_for(model: GsClipModel, known: Known) -> None:
    assert set(stage_losses(model, known, False, ["views", "points"])) == {"views", "points"}
