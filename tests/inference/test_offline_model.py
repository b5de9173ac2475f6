# SPDX-License-Identifier: Apache-2.0
"""The model of configs/offline.yaml in another runtime: ImageNet stem, part cut out, grey views, judged apart."""

from pathlib import Path

import numpy as np
import pytest
import torch
from anomalib.engine import Engine
from torch.nn.functional import interpolate

from anomalib_clip3dad.data import Toy3D
from anomalib_clip3dad.inference import RGBXYZInferencer
from anomalib_clip3dad.models import Clip3dAd

pytestmark = pytest.mark.slow


def test_scores_and_maps_agree_with_pytorch(tmp_path: Path) -> None:
    """In OpenVINO, whose graph is made of the ONNX one."""
    parts = Toy3D(
        tmp_path / "parts", "gear", num_train=1, num_validation=0, num_good=1, num_defects=1, val_split_mode="none"
    )
    parts.setup()
    items = [parts.test_data[i] for i in range(3)]
    image, xyz = (torch.stack([getattr(item, name) for item in items]) for name in ("image", "depth_map"))
    model = Clip3dAd(
        "ViT-Ti-Lite0-16-240",
        "small",
        "gear",
        views=[5, 9],
        view_paint="grey",
        crop_to_part=True,
        fusion="late",
        post_processor=False,
        visualizer=False,
    ).eval()
    engine = Engine(accelerator="cpu", default_root_dir=tmp_path)
    file = engine.export(model, "openvino", tmp_path)
    assert file is not None
    inferencer = RGBXYZInferencer(file)
    for size in ((240, 240), (500, 400)):
        sample = interpolate(image, size, mode="bilinear"), interpolate(xyz, size)
        with torch.no_grad():
            expected = model(*sample)
        found = inferencer.predict_batch(*sample)
        np.testing.assert_allclose(found.pred_score, expected.pred_score, atol=1e-3)
        np.testing.assert_allclose(found.anomaly_map, expected.anomaly_map, atol=2e-3)
        assert expected.anomaly_map.shape[1:] == (480, 480)
