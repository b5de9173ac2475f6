# SPDX-License-Identifier: Apache-2.0
"""What OpenVINO and NNCF report, seen from a process of its own, as NNCF does not report from pytest."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import socket, sys, time
from pathlib import Path
asked = Path("asked")
def refuse(*_, **__):
    asked.touch()  # a file, as reports are sent by a process of their own
    raise OSError("no network here")
socket.getaddrinfo = refuse
socket.socket.connect = refuse
if sys.argv[1] == "off":
    import anomalib_clip3dad
import nncf, onnx, openvino
from onnx import TensorProto, helper
x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 8]) for name in "xy")
graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), "g.onnx")
nncf.compress_weights(openvino.convert_model("g.onnx"))
deadline = time.monotonic() + 5
while not asked.exists() and time.monotonic() < deadline:
    time.sleep(0.1)
"""


@pytest.mark.slow
@pytest.mark.parametrize("telemetry", ["on", "off"])
def test_with_this_package_nothing_is_reported(tmp_path: Path, telemetry: str) -> None:
    """Without it, the same script tries to."""
    environment = {name: value for name, value in os.environ.items() if name not in {"CI", "TF_BUILD", "JENKINS_URL"}}
    ended = subprocess.run(  # noqa: S603
        [sys.executable, "-c", SCRIPT, telemetry],
        cwd=tmp_path,
        env=environment | {"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert (tmp_path / "asked").exists() == (telemetry == "on")
