# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import openvino
import pytest
import torch
from onnx import TensorProto, helper

from anomalib_clip3dad.errors import InputError
from anomalib_clip3dad.export.describe import describe
from anomalib_clip3dad.export.metadata import PREFIX, Metadata
from anomalib_clip3dad.inference.in_torch import Torch
from anomalib_clip3dad.inference.runtimes import OnnxRuntime, OpenVino, open_model
from tests.conftest import bumpy_part
from tests.deployed import FIXED, Deployed, batch

OPEN: dict[str, Callable[[Deployed], Any]] = {
    "checkpoint": lambda d: Torch(d.checkpoint, "cpu"),
    "ONNX Runtime": lambda d: OnnxRuntime(d.onnx),
    "OpenVINO, .xml": lambda d: OpenVino(d.openvino),
    "OpenVINO, .onnx": lambda d: OpenVino(d.onnx, "CPU"),
}


@pytest.mark.parametrize("kind", OPEN)
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("size", [FIXED, (48, 48), (100, 31)])
def test_every_runtime_answers_as_the_model(deployed: Deployed, kind: str, count: int, size: tuple[int, int]) -> None:
    run = OPEN[kind](deployed)
    image, xyz = batch(size, count)
    if run.metadata.input_size not in {None, size}:
        with pytest.raises(
            InputError, match=rf"image: found {size[0]} x {size[1]} pixels, model\.xml was exported for 60"
        ):
            run(image.numpy(), xyz.numpy())
        return
    with torch.no_grad():
        expected = deployed.model.eval()(image, xyz)
    found = run(image.numpy(), xyz.numpy())
    assert set(found) == {"pred_score", "pred_label", "anomaly_map", "pred_mask"}
    assert np.abs(found["pred_score"] - expected.pred_score.numpy()).max() <= 1e-3
    assert np.abs(found["anomaly_map"] - expected.anomaly_map.numpy()).max() <= 2e-3
    assert found["pred_mask"].dtype == found["pred_label"].dtype == bool
    assert (found["pred_mask"] != expected.pred_mask.numpy()).mean() < 0.01
    assert np.array_equal(found["pred_label"], expected.pred_label.numpy())


@pytest.mark.parametrize("kind", list(OPEN)[1:])
def test_lists_of_points_are_refused_by_exported_files(deployed: Deployed, kind: str) -> None:
    image, xyz = batch((1, 500), 1)
    with pytest.raises(
        InputError, match=r"depth_map: found a list of 500 points, model\.\w+ was exported for organised"
    ):
        OPEN[kind](deployed)(image.numpy(), xyz.numpy())


@pytest.mark.parametrize("kind", OPEN)
def test_one_model_for_eight_threads(deployed: Deployed, kind: str) -> None:
    run = OPEN[kind](deployed)
    parts = [[values[None].numpy() for values in bumpy_part(*FIXED, seed=seed)] for seed in range(16)]
    one_by_one = [run(*part) for part in parts]
    with ThreadPoolExecutor(8) as threads:
        at_once = list(threads.map(lambda part: run(*part), parts))
    for expected, found in zip(one_by_one, at_once, strict=True):
        for name, values in expected.items():
            np.testing.assert_allclose(found[name], values, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("kind", OPEN)
def test_metadata_is_read_back(deployed: Deployed, kind: str) -> None:
    size = FIXED if "xml" in kind else None
    assert OPEN[kind](deployed).metadata == describe(deployed.model, size)


def test_lower_precision_for_speed(deployed: Deployed) -> None:
    image, xyz = batch(FIXED, 1)
    quick = open_model(deployed.openvino, "cpu", "bf16")(image.numpy(), xyz.numpy())
    exact = open_model(deployed.openvino, "cpu")(image.numpy(), xyz.numpy())
    assert np.abs(quick["anomaly_map"] - exact["anomaly_map"]).mean() < 0.1


def foreign_onnx(folder: Path) -> Path:
    node = helper.make_node("Identity", ["x"], ["y"])
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    model = helper.make_model(helper.make_graph([node], "other", values[:1], values[1:]), ir_version=10)
    model.opset_import[0].version = 18
    onnx.save(model, folder / "other.onnx")
    return folder / "other.onnx"


def foreign_xml(folder: Path) -> Path:
    openvino.save_model(openvino.convert_model(foreign_onnx(folder)), folder / "other.xml")
    return folder / "other.xml"


def written(name: str, content: bytes) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return write


SIGNAL = """
import os, signal, sys
from pathlib import Path
from anomalib_clip3dad.inference.runtimes import OpenVino

signal.signal(signal.SIGCHLD, lambda *_: None)  # as a data loader with workers does
first, second = (OpenVino(Path(sys.argv[1]), "cpu") for _ in range(2))
del first
del second
os.kill(os.getpid(), signal.SIGCHLD)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="OpenVINO changes the signal stack on Linux alone")
def test_signals_arrive_after_models_are_freed_in_the_order_they_were_opened(tmp_path: Path) -> None:
    """With a `Core` for each model, OpenVINO leaves a signal stack that is no longer mapped."""
    model = onnx.load(foreign_onnx(tmp_path))
    metadata = Metadata("Other", "1", None, [], None, None, "", None)
    helper.set_model_props(model, {f"{PREFIX}.{name}": text for name, text in metadata.to_texts().items()})
    onnx.save(model, tmp_path / "ours.onnx")
    ended = subprocess.run([sys.executable, "-c", SIGNAL, tmp_path / "ours.onnx"], capture_output=True, check=False)  # noqa: S603
    assert ended.returncode == 0, ended.stderr


def foreign_checkpoint(folder: Path) -> Path:
    torch.save({"state_dict": {}, "hyper_parameters": {}}, folder / "other.ckpt")
    return folder / "other.ckpt"


BAD: dict[str, tuple[Callable[[Path], Path], str]] = {
    "missing": (lambda folder: folder / "none.onnx", r"none\.onnx: no such file; give the \.onnx, \.xml or \.ckpt"),
    "kind": (written("model.pt", b""), r"model\.pt: found \.pt; give the \.onnx, \.xml or \.ckpt"),
    "foreign onnx": (foreign_onnx, r"other\.onnx: this file was not exported by anomalib_clip3dad"),
    "foreign xml": (foreign_xml, r"other\.xml: this file was not exported by anomalib_clip3dad"),
    "foreign ckpt": (foreign_checkpoint, r"other\.ckpt: this is no checkpoint of a model of anomalib_clip3dad"),
    "damaged onnx": (written("a.onnx", b"\0" * 50), r"a\.onnx: it cannot be read"),
    "damaged xml": (written("a.xml", b"<net"), r"a\.xml: it cannot be read"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_file_that_is_not_ours(tmp_path: Path, case: str) -> None:
    make, message = BAD[case]
    with pytest.raises(InputError, match=message):
        open_model(make(tmp_path))


@pytest.mark.parametrize(
    ("which", "arguments", "message"),
    [
        ("onnx", {"device": "tpu"}, "device='tpu': this ONNX Runtime has cpu"),
        ("openvino", {"device": "tpu"}, "device='tpu': this OpenVINO has CPU"),
        ("checkpoint", {"device": "tpu"}, "device='tpu': this PyTorch cannot use it"),
        ("openvino", {"precision": "f8"}, r"model\.xml: OpenVINO cannot run it with device='auto', precision='f8'"),
        ("onnx", {"precision": "bf16"}, "precision='bf16': only OpenVINO"),
        ("checkpoint", {"precision": "bf16"}, "precision='bf16': only OpenVINO"),
    ],
)
def test_what_the_machine_cannot_do(deployed: Deployed, which: str, arguments: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_model(getattr(deployed, which), **arguments)
