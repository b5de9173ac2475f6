# SPDX-License-Identifier: Apache-2.0
"""The model of configs/offline.yaml in every runtime: ImageNet stem, part cut out, grey views, judged apart."""

from pathlib import Path

import numpy as np
import pytest
import torch
from anomalib.engine import Engine

from anomalib_clip3dad.deploy import RGBXYZInferencer
from anomalib_clip3dad.models import Clip3dAd

from .conftest import batch


@pytest.mark.parametrize("kind", ["onnx", "openvino"])
def test_scores_and_maps_agree_with_pytorch(kind: str, tmp_path: Path) -> None:
    model = Clip3dAd(
        "ViT-Ti-Lite0-16-240",
        "small",
        "part",
        views=[5, 9],
        view_paint="grey",
        crop_to_part=True,
        fusion="late",
        post_processor=False,
        visualizer=False,
    ).eval()
    engine = Engine(accelerator="cpu", default_root_dir=tmp_path)
    file = engine.export(model, kind, tmp_path)
    assert file is not None
    inferencer = RGBXYZInferencer(file)
    for size in ((360, 480), (500, 400)):
        image, xyz = batch(size, 3)
        with torch.no_grad():
            expected = model(image, xyz)
        found = inferencer.predict_batch(image, xyz)
        np.testing.assert_allclose(found.pred_score, expected.pred_score, atol=1e-3)
        np.testing.assert_allclose(found.anomaly_map, expected.anomaly_map, atol=2e-3)
        assert expected.anomaly_map.shape[1:] == (480, 480)
