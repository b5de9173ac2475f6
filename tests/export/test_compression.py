# SPDX-License-Identifier: Apache-2.0
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest
import torch
from anomalib.deploy import CompressionType

from anomalib_clip3dad.data import Folder3DXYZ
from anomalib_clip3dad.export.compression import calibration_samples, compress
from tests.data.conftest import write_parts
from tests.deployed import Deployed, batch

TYPES = {CompressionType.FP16: {"f16"}, CompressionType.INT8: {"i8", "u8"}, CompressionType.INT8_PTQ: {"i8", "u8"}}
SHARE = {CompressionType.FP16: 0.6, CompressionType.INT8: 0.6, CompressionType.INT8_PTQ: 0.8}
CLOSE = {CompressionType.FP16: 0.002, CompressionType.INT8: 0.05, CompressionType.INT8_PTQ: 0.1}


@pytest.mark.parametrize("kind", TYPES)
def test_files_shrink_answers_stay_and_geometry_keeps_its_precision(
    deployed: Deployed, tmp_path: Path, kind: CompressionType
) -> None:
    write_parts(tmp_path / "good", 4)
    data = Folder3DXYZ(normal_dir=tmp_path / "good", k_shot=2, test_split_mode="none")
    small = compress(openvino.Core().read_model(deployed.onnx), kind, data)
    part = "model/model/tower/" if kind == CompressionType.INT8_PTQ else "model/model/"
    constants = [op for op in small.get_ops() if op.get_type_name() == "Constant"]
    narrow = [op for op in constants if op.get_element_type().get_type_name() in TYPES[kind]]
    quantisers = [op.get_friendly_name() for op in small.get_ops() if op.get_type_name() == "FakeQuantize"]
    assert narrow or quantisers
    assert bool(quantisers) == (kind == CompressionType.INT8_PTQ)
    assert all(name.startswith(part) for name in quantisers)
    assert all(reader.startswith(part) for op in narrow for reader in readers(op))
    openvino.save_model(small, tmp_path / "small.xml", compress_to_fp16=False)
    whole = deployed.openvino.with_suffix(".bin").stat().st_size
    assert (tmp_path / "small.bin").stat().st_size < SHARE[kind] * whole

    run = openvino.Core().compile_model(small, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    image, xyz = batch((48, 48), 3)
    found = run({"image": image.numpy(), "xyz": xyz.numpy()})
    with torch.no_grad():
        expected = deployed.model.eval()(image, xyz)
    assert np.abs(found["anomaly_map"] - expected.anomaly_map.numpy()).mean() < CLOSE[kind]


def readers(op: Any) -> list[str]:
    """Names of the nodes that read a constant, past those that widen and scale it."""
    names = []
    for port in op.output(0).get_target_inputs():
        node = port.get_node()
        between = node.get_type_name() in {"Convert", "Subtract", "Multiply", "Reshape"}
        plain = between and not node.get_friendly_name().startswith("model/")
        names += readers(node) if plain else [node.get_friendly_name()]
    return names


@pytest.mark.parametrize(("at_most", "expected"), [(300, 4), (2, 2)])
def test_training_and_validation_samples_of_both_inputs(tmp_path: Path, at_most: int, expected: int) -> None:
    write_parts(tmp_path / "good", 3)
    data = Folder3DXYZ(normal_dir=tmp_path / "good", k_shot=2, test_split_mode="none")
    samples = calibration_samples(data, at_most)
    assert len(samples) == expected  # two shots, the good part left over, and that with a synthetic anomaly
    for i, sample in zip(range(2), samples, strict=False):
        assert np.array_equal(sample["image"][0], data.train_data[i].image.numpy())
        assert np.array_equal(sample["xyz"][0], data.train_data[i].depth_map.numpy())
        assert sample["xyz"].dtype == sample["image"].dtype == np.float32
