# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest
import torch

from anomalib_clip3dad.command.parity import parity
from anomalib_clip3dad.errors import InputError
from tests.data.conftest import write_parts
from tests.deployed import Deployed


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    write_parts(tmp_path / "good", 2)
    return tmp_path / "good"


def test_an_export_of_the_same_weights(deployed: Deployed, parts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert parity(deployed.checkpoint, deployed.onnx, parts) == []
    printed = capsys.readouterr().out
    for words in ("torch", "ONNX", "OpenVINO", "rgb/000.png", "rgb/001.png", "largest difference"):
        assert words in printed


def test_an_export_of_other_weights(deployed: Deployed, parts: Path, tmp_path: Path) -> None:
    content = torch.load(deployed.checkpoint, weights_only=True)
    weights = content["state_dict"]
    weights["model.image_adapter.up.weight"] = weights["model.image_adapter.up.weight"] * 3
    weights["model.decoder.to_embedding.weight"] = -weights["model.decoder.to_embedding.weight"]
    torch.save(content, tmp_path / "other.ckpt")
    first, *others = parity(tmp_path / "other.ckpt", deployed.onnx, parts)
    assert "it was exported from other weights" in first
    assert [fault.split(":")[0] for fault in others] == ["ONNX Runtime", "OpenVINO"]


def test_wrong_arguments_are_named(deployed: Deployed, parts: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.onnx: no such file"):
        parity(deployed.checkpoint, tmp_path / "none.onnx", parts)
    with pytest.raises(InputError, match=r"model\.ckpt: found \.ckpt; give the exported"):
        parity(deployed.checkpoint, deployed.checkpoint, parts)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError):
        parity(deployed.checkpoint, deployed.onnx, tmp_path / "empty")
