# SPDX-License-Identifier: Apache-2.0
import importlib.util
import subprocess
import sys
from pathlib import Path

import anomalib.models
import pytest
from anomalib.models import get_model, list_models

from anomalib_clip3dad import Clip3dAd
from anomalib_clip3dad.models import Clip3dAd as FromModels
from anomalib_clip3dad.registration import register_with


def test_anomalib_lists_the_model() -> None:
    assert "clip3d_ad" in list_models()
    assert FromModels is Clip3dAd


@pytest.mark.parametrize("name", ["clip3d_ad", "Clip3dAd", {"class_path": "Clip3dAd"}])
def test_anomalib_makes_the_model(tiny_clip: str, name: str | dict[str, str]) -> None:
    model = get_model(name, clip_model=tiny_clip, pretrained=None, layers=[1, 3], views=[5, 9])
    assert type(model) is Clip3dAd
    assert model.views == (5, 9)


def test_nothing_is_allowed_that_anomalib_does_not_allow() -> None:
    assert not any("clip3dad" in module for module in anomalib.models.ALLOWED_MODULES)


@pytest.mark.slow
def test_importing_costs_nothing_until_models_are_asked_for() -> None:
    code = """
import sys, anomalib_clip3dad
assert not {"torch", "anomalib.models"} & set(sys.modules)
from anomalib.models import list_models
assert "clip3d_ad" in list_models()
import anomalib.models
assert anomalib.models.Clip3dAd is anomalib_clip3dad.Clip3dAd is anomalib_clip3dad.models.Clip3dAd
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)  # noqa: S603


@pytest.mark.slow
def test_no_room_but_the_models_needs_anomalibs_models() -> None:
    """Otherwise importing that room first would go round in a circle: it, anomalib's models, ours, it again."""
    code = """
import sys
from anomalib_clip3dad import callbacks, clip, data, geometry, synthesis, visualization
assert all(getattr(data, name) for name in data.__all__)
assert "anomalib.models" not in sys.modules
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)  # noqa: S603


def test_what_is_not_there_is_an_attribute_error() -> None:
    import anomalib_clip3dad  # noqa: PLC0415

    assert "Clip3dAd" in dir(anomalib_clip3dad)
    with pytest.raises(AttributeError, match="no attribute 'Clip2dAd'"):
        _ = anomalib_clip3dad.Clip2dAd


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host, and a guest that needs it; both note that they were imported."""
    (tmp_path / "waited_host.py").write_text("guests = []\n")
    (tmp_path / "waited_guest.py").write_text("import waited_host\nwaited_host.guests.append(__name__)\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("waited_host", "waited_guest"):
        monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.mark.usefixtures("modules")
@pytest.mark.parametrize("order", [["waited_host"], ["waited_guest"], ["waited_guest", "waited_host"]])
@pytest.mark.parametrize("early", [True, False])
def test_the_guest_comes_along_once_whoever_is_first(order: list[str], early: bool) -> None:
    before = list(sys.meta_path)
    if early:
        register_with("waited_host", "waited_guest")
        assert importlib.util.find_spec("waited_host") is not None  # asking is not importing
        assert "waited_host" not in sys.modules
    for name in order:
        importlib.import_module(name)
    if not early:
        register_with("waited_host", "waited_guest")
    host = sys.modules["waited_host"]
    assert host.guests == ["waited_guest"]
    assert host.__spec__ is not None
    assert type(host.__loader__).__name__ == "SourceFileLoader" == type(host.__spec__.loader).__name__
    assert sys.meta_path == before
