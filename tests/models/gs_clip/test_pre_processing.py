# SPDX-License-Identifier: Apache-2.0
"""Masks of images are resized with them, masks of points are not."""

from typing import Any

import pytest
import torch
from anomalib.data import DepthBatch
from torchvision.transforms.v2 import Resize

from anomalib_clip3dad.models.gs_clip.pre_processing import PointPreProcessor

STAGES = ("train", "validation", "test", "predict")


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(("size", "expected"), [((24, 24), (12, 12)), ((1, 40), (1, 40))])
def test_masks_of_points_stay(stage: str, size: tuple[int, int], expected: tuple[int, int]) -> None:
    batch: Any = DepthBatch(
        image=torch.rand(2, 3, 24, 24), depth_map=torch.rand(2, 3, *size), gt_mask=torch.rand(2, *size) > 0.5
    )
    before = batch.gt_mask.clone()
    getattr(PointPreProcessor(Resize((12, 12))), f"on_{stage}_batch_start")(None, None, batch, 0)
    assert batch.image.shape == (2, 3, 12, 12)
    assert batch.gt_mask.shape == (2, *expected)
    assert expected[0] != 1 or torch.equal(batch.gt_mask, before)
