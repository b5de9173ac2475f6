# SPDX-License-Identifier: Apache-2.0
import importlib

import pytest

from anomalib_clip3dad.command.doctor import doctor, packages, real_weights, registered, small_weights

module = importlib.import_module("anomalib_clip3dad.command.doctor")  # the package's name is the function


def test_this_installation_works(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor() == []
    printed = capsys.readouterr().out
    assert "ViT-Ti-Lite0-16-240, 6.6 M parameters" in printed
    assert "anomalib 2.7" in printed


def test_what_is_broken_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def broken() -> str:
        msg = "the disk is full\nand more"
        raise OSError(msg)

    monkeypatch.setitem(module.TESTS, "small CLIP", broken)
    monkeypatch.setitem(module.OPTIONS, "export", broken)
    assert doctor() == ["small CLIP"]
    assert "OSError: the disk is full" in capsys.readouterr().out


def test_a_package_of_another_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "requires", lambda _: ["torch<0.1", 'onnx<0.1; extra == "deploy"'])
    with pytest.raises(ImportError, match=r"torch .* is installed, torch<0\.1 is needed: pip install"):
        packages()


def test_parts() -> None:
    assert registered() == "clip3d_ad"
    assert small_weights().startswith("ViT-Ti-Lite0-16-240")
    assert "not downloaded" in real_weights() or "open_clip" in real_weights()
