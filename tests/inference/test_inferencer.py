# SPDX-License-Identifier: Apache-2.0
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from anomalib.data import DepthBatch

from anomalib_clip3dad.data import Intrinsics
from anomalib_clip3dad.inference import RGBXYZInferencer
from anomalib_clip3dad.inference.runtimes import open_model
from tests.data.conftest import write_parts
from tests.deployed import FIXED, Deployed, batch

FIELDS = ("pred_score", "pred_label", "anomaly_map", "pred_mask")


@pytest.mark.parametrize("kind", ["checkpoint", "onnx", "openvino"])
def test_one_part_as_the_model_predicts_it(deployed: Deployed, kind: str) -> None:
    image, xyz = (values[0] for values in batch(FIXED, 1))
    expected = deployed.model.predict(image, xyz)
    found = RGBXYZInferencer(getattr(deployed, kind)).predict(image, xyz)
    assert isinstance(found, DepthBatch)
    for field in FIELDS:
        one, other = (getattr(answer, field).float() for answer in (found, expected))
        assert one.shape == other.shape
        torch.testing.assert_close(one, other, atol=2e-3, rtol=0)
    assert torch.equal(found.image, image[None])
    assert torch.equal(found.depth_map, xyz[None])


def test_a_batch_is_its_parts(deployed: Deployed) -> None:
    inferencer = RGBXYZInferencer(deployed.onnx)
    image, xyz = batch((70, 50), 3)
    together = inferencer.predict_batch(image, xyz)
    for i in range(3):
        alone = inferencer.predict(image[i], xyz[i])
        torch.testing.assert_close(together.pred_score[i : i + 1], alone.pred_score, atol=1e-4, rtol=0)
        torch.testing.assert_close(together.anomaly_map[i : i + 1], alone.anomaly_map, atol=1e-3, rtol=0)


def test_files_arrays_and_a_camera(deployed: Deployed, tmp_path: Path) -> None:
    inferencer = RGBXYZInferencer(deployed.onnx)
    write_parts(tmp_path, 2)
    images, clouds = (sorted((tmp_path / name).iterdir()) for name in ("rgb", "xyz"))
    found = inferencer.predict_batch(images, clouds)
    assert found.image_path == [str(path) for path in images]
    points = [np.load(path) for path in clouds]
    pixels = [(255 * image).round().to(torch.uint8).permute(1, 2, 0).numpy() for image in found.image]
    torch.testing.assert_close(inferencer.predict_batch(pixels, points).anomaly_map, found.anomaly_map)
    camera = Intrinsics(fx=120, fy=120, cx=23.5, cy=23.5)
    turned = inferencer.predict(pixels[0], points[0][..., 2], camera)
    assert turned.depth_map.shape == (1, 3, 48, 48)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda i, _: (i, None), "xyz: found NoneType; give a file"),
        (lambda i, x: (i, x[0]), r"xyz: found Tensor \(60, 80\)"),
        (lambda i, x: (i, 1000 * x), "xyz: half of the points are over .* XYZ must be metres"),
        (lambda i, x: (i[:, :30], x[:, :30]), r"image: found 30 x 80 pixels, model\.xml was exported for 60 x 80"),
    ],
)
def test_wrong_input_is_named(deployed: Deployed, change: Any, message: str) -> None:
    image, xyz = (values[0] for values in batch(FIXED, 1))
    with pytest.raises(ValueError, match=message):
        RGBXYZInferencer(deployed.openvino).predict(*change(image, xyz))


def test_batches_that_are_none(deployed: Deployed) -> None:
    inferencer = RGBXYZInferencer(deployed.onnx)
    (image,), (xyz,) = batch((48, 48), 1)
    with pytest.raises(ValueError, match="predict_batch: found 1 images and 2 clouds"):
        inferencer.predict_batch([image], [xyz, xyz])
    for nothing in ([], None, iter([image]), torch.tensor(0.0)):
        with pytest.raises(ValueError, match="predict_batch: found 0 images and 0 clouds"):
            inferencer.predict_batch(nothing, nothing)
    with pytest.raises(ValueError, match=r"predict_batch: found 1 images and 1 clouds; .* call predict"):
        inferencer.predict_batch("a.png", "a.npy")
    with pytest.raises(ValueError, match="found parts of 40 x 48, 48 x 48 pixels; give those of one size together"):
        inferencer.predict_batch([image, image[:, :40]], [xyz, xyz[:, :40]])


@pytest.mark.parametrize("kind", ["checkpoint", "onnx", "openvino"])
def test_what_shows_nothing_gets_no_firm_verdict(deployed: Deployed, kind: str) -> None:
    """The exported file by itself, as programs call it that do without `as_part`."""
    image, xyz = batch(FIXED, 4)
    xyz[1] = torch.nan
    image[2] = 0.5
    xyz[3, :, 1:] = 0
    xyz[3, :, :, 20:] = 0  # 20 of 4800 points
    found = open_model(getattr(deployed, kind))(image.numpy(), xyz.numpy())
    assert np.isfinite(found["pred_score"][0])
    assert np.isfinite(found["anomaly_map"][0]).all()
    assert not found["pred_mask"][0].all()
    assert (found["pred_score"][1:] == np.inf).all()
    assert (found["anomaly_map"][1:] == np.inf).all()
    assert found["pred_label"][1:].all()
    assert found["pred_mask"][1:].all()
