# SPDX-License-Identifier: Apache-2.0
import importlib.util
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import openvino
import pytest
import torch
from anomalib.deploy import CompressionType

import anomalib_clip3dad
from anomalib_clip3dad.errors import InputError, need
from anomalib_clip3dad.inference import RGBXYZInferencer
from tests.deployed import FIXED, Deployed, batch


def dims(value: onnx.ValueInfoProto) -> list[int | str]:
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


def test_inputs_and_outputs_of_the_onnx_file(deployed: Deployed) -> None:
    graph = onnx.load(deployed.onnx).graph
    inputs = {value.name: dims(value) for value in graph.input}
    assert list(inputs) == ["image", "xyz"]
    for shape in inputs.values():
        assert [type(size) for size in shape] == [str, int, str, str]
    outputs = {value.name: len(dims(value)) for value in graph.output}
    assert outputs == {"pred_score": 1, "pred_label": 1, "anomaly_map": 3, "pred_mask": 3}


def test_the_file_runs_anywhere_and_says_nothing_of_where_it_was_made(deployed: Deployed) -> None:
    """One file; operators of the standard alone, no code; no path of this machine, no name of a Python file."""
    model = onnx.load(deployed.onnx)
    onnx.checker.check_model(model, full_check=True)
    assert {entry.domain for entry in model.opset_import} == {""}
    assert not model.functions
    assert sorted(path.name for path in deployed.onnx.parent.iterdir()) == ["model.onnx"]
    here = [Path(anomalib_clip3dad.__file__).parent, Path(torch.__file__).parent, deployed.onnx.parent, Path.home()]
    for file in (deployed.onnx, deployed.openvino, deployed.openvino.with_suffix(".bin")):
        content = file.read_bytes()
        for name in [*(str(path).encode() for path in here), b".py", b"pickle", b"Traceback"]:
            assert name not in content, (file, name)


def test_nodes_are_named_after_their_modules_and_the_text_tower_is_not_among_them(deployed: Deployed) -> None:
    names = {node.name.rpartition("/")[0] for node in onnx.load(deployed.onnx).graph.node}
    assert {"model/renderer", "model/model/tower", "model/post_processor"} <= names
    assert not any(
        "token_embedding" in name for name in (*names, *(i.name for i in onnx.load(deployed.onnx).graph.initializer))
    )


def test_openvino_of_one_size(deployed: Deployed) -> None:
    model = openvino.Core().read_model(deployed.openvino)
    shapes = {value.any_name: [str(size) for size in value.partial_shape] for value in model.inputs}
    assert shapes == {name: ["?", "3", *map(str, FIXED)] for name in ("image", "xyz")}
    assert [value.any_name for value in model.outputs] == ["pred_score", "pred_label", "anomaly_map", "pred_mask"]


def test_half_the_bytes(deployed: Deployed, tmp_path: Path) -> None:
    path = deployed.model.to_openvino(tmp_path, "half", FIXED, CompressionType.FP16)
    assert path == tmp_path / "weights" / "openvino" / "half.xml"
    sizes = [file.with_suffix(".bin").stat().st_size for file in (path, deployed.openvino)]
    assert sizes[0] < 0.6 * sizes[1]
    half, whole = RGBXYZInferencer(path), RGBXYZInferencer(deployed.openvino)
    assert (half.metadata.compression, whole.metadata.compression) == ("fp16", None)
    image, xyz = batch(FIXED, 2)
    found, expected = half.predict_batch(image, xyz), whole.predict_batch(image, xyz)
    assert (found.anomaly_map - expected.anomaly_map).abs().mean() < 0.002


REFUSED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "names": (lambda m: m.to_onnx(".", input_names=["input"]), "onnx_kwargs: input_names cannot be chosen"),
    "opset": (lambda m: m.to_onnx(".", opset_version=14), "opset_version is 18 or later"),
    "pickle": (lambda m: m.to_torch("."), r"export_type=torch: .* pickle"),
    "accuracy": (lambda m: m.to_openvino(".", compression_type=CompressionType.INT8_ACQ), "INT8_ACQ: .* INT8_PTQ"),
    "no data": (lambda m: m.to_openvino(".", compression_type=CompressionType.INT8_PTQ), "INT8_PTQ: .* data module"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_had_is_refused_before_anything_is_written(deployed: Deployed, case: str) -> None:
    call, message = REFUSED[case]
    with pytest.raises(InputError, match=message):
        call(deployed.model)
    assert not list(Path().iterdir())


def test_a_missing_package_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "nncf" else there(name))
    with pytest.raises(ImportError, match=r"nncf: not installed; .* pip install 'anomalib_clip3dad\[deploy\]'"):
        need("openvino", "nncf")


def test_quiet(deployed: Deployed) -> None:
    assert deployed.onnx.is_file()
    assert not logging.getLogger("onnx_ir").isEnabledFor(logging.INFO)
