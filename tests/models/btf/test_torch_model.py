# SPDX-License-Identifier: Apache-2.0
"""Features against loops, and all of it against anomalib's PatchCore as it stands."""

import numpy as np
import pytest
import torch
from anomalib.models.image.patchcore.torch_model import PatchcoreModel
from torchvision.transforms.v2.functional import normalize

from anomalib_clip3dad.geometry.fpfh import organised_fpfh
from anomalib_clip3dad.models.backbone import load_backbone
from anomalib_clip3dad.models.btf.torch_model import BtfModel
from anomalib_clip3dad.models.pooling import pool_to_grid
from tests.conftest import depth_batch

LAYERS = ("layer2", "layer3")


@pytest.mark.parametrize(
    ("backbone", "layers", "pre_trained", "statistics"),
    [
        ("resnet18", LAYERS, False, ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])),
        ("tf_efficientnet_lite0", ("blocks.2", "blocks.4"), True, ([127 / 255] * 3, [128 / 255] * 3)),
    ],
)
def test_rgb_alone_is_patchcore_with_its_own_backbone(
    backbone: str, layers: tuple[str, str], pre_trained: bool, statistics: tuple[list[float], list[float]]
) -> None:
    """Image in, scores out; all is foreground, so nothing is blackened."""
    extractor = load_backbone(backbone, layers, pre_trained)
    reference = PatchcoreModel(layers, backbone, pre_trained=False, num_neighbors=3)
    reference.feature_extractor.load_state_dict(extractor.state_dict())
    model = BtfModel(extractor, with_fpfh=False).eval()
    shots, test = torch.rand(2, 3, 64, 64), torch.rand(3, 3, 64, 64)
    cloud, foreground = torch.ones(3, 3, 64, 64), torch.ones(3, 64, 64, dtype=torch.bool)
    reference.train()(normalize(shots, *statistics))
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    reference.subsample_embedding(0.1)
    expected = reference.eval()(normalize(test, *statistics))
    model.memory.remember(model.embed(shots, cloud[:2], foreground[:2]))
    model.memory.choose_coreset(0.1, seed=0)
    found = model(test, cloud, foreground)
    assert torch.equal(found.pred_score, expected.pred_score)
    assert torch.equal(found.anomaly_map, expected.anomaly_map[:, 0])


def test_features_of_both_stand_side_by_side_as_they_are() -> None:
    batch = depth_batch(2, 48, 48)
    foreground = batch.depth_map[:, 2] > 0
    foreground[:, :20] = False
    extractor = load_backbone("resnet18", LAYERS, pre_trained=False)
    parts = BtfModel(extractor, with_fpfh=False), BtfModel(None), BtfModel(extractor)
    rgb, fpfh, both = (model.embed(batch.image, batch.depth_map, foreground) for model in parts)
    assert rgb.shape == (2, 128 + 256, 6, 6)
    assert torch.equal(both, torch.cat((rgb, fpfh), dim=1))
    torch.testing.assert_close(fpfh, pool_to_grid(organised_fpfh(batch.depth_map, foreground), (6, 6)))
    # patches without a point, and they alone, have no feature
    assert not fpfh[:, :, :2].any()
    assert fpfh[:, :, 3:].any(dim=1).all()


def test_what_is_not_foreground_is_black() -> None:
    batch = depth_batch(1, 48, 48)
    foreground = torch.zeros(1, 48, 48, dtype=torch.bool)
    foreground[:, 10:30, 10:30] = True
    model = BtfModel(load_backbone("resnet18", LAYERS, pre_trained=False), with_fpfh=False)
    one = model.embed(batch.image, batch.depth_map, foreground)
    other = model.embed(batch.image.where(foreground[:, None], 0.7), batch.depth_map, foreground)
    assert torch.equal(one, other)


def test_missing_points_are_faulty() -> None:
    """A hole where the shots have a surface is found, as patches without a point are scored, too."""
    shot = depth_batch(1, 48, 48)
    foreground = torch.zeros(1, 48, 48, dtype=torch.bool)
    foreground[:, 8:40, 8:40] = True
    model = BtfModel(None, num_neighbors=1).eval()
    model.memory.remember(model.embed(shot.image, shot.depth_map, foreground))
    model.memory.choose_coreset(1.0, seed=0)
    holed = foreground.clone()
    holed[:, 16:32, 16:32] = False
    before, after = (model(shot.image, shot.depth_map, mask).anomaly_map for mask in (foreground, holed))
    assert after[0, 20:28, 20:28].min() > before[0, 20:28, 20:28].max()
