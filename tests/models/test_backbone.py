# SPDX-License-Identifier: Apache-2.0
import logging
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from anomalib_clip3dad.errors import InputError, MissingFileError, UnreachableError
from anomalib_clip3dad.models.backbone import load_backbone

LAYERS = ("layer1", "layer2")


def test_random_weights_are_loud_and_always_the_same(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        one = load_backbone("resnet18", LAYERS, pre_trained=False).state_dict()
    assert "resnet18 runs with RANDOM weights" in caplog.text
    torch.rand(3)
    other = load_backbone("resnet18", LAYERS, pre_trained=False).state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_weights_of_a_file(tmp_path: Path, caplog: pytest.LogCaptureFixture, suffix: str) -> None:
    """That of the whole network, of which the extractor is a part."""
    torch.manual_seed(5)
    network = timm.create_model("resnet18", pretrained=False).eval()
    file = tmp_path / f"weights.{suffix}"
    if suffix == "pth":
        torch.save({"state_dict": network.state_dict()}, file)
    else:
        save_file(network.state_dict(), file)
    extractor = load_backbone("resnet18", LAYERS, backbone_weights=str(file))
    assert "RANDOM" not in caplog.text
    picture = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected = network.layer2(network.layer1(network.maxpool(network.act1(network.bn1(network.conv1(picture))))))
    assert torch.equal(extractor(picture)["layer2"], expected)


def test_what_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="backbone='resnet17': timm knows no such network"):
        load_backbone("resnet17", LAYERS, pre_trained=False)
    with pytest.raises(InputError, match=r"the stages of resnet18 are .*layer4; name some"):
        load_backbone("resnet18", ["layer2", "layer9"], pre_trained=False)
    with pytest.raises(MissingFileError, match="no such file; give the path"):
        load_backbone("resnet18", LAYERS, backbone_weights=str(tmp_path / "nowhere.pth"))
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(InputError, match="holds no weights that can be read safely"):
        load_backbone("resnet18", LAYERS, backbone_weights=str(tmp_path / "text.pth"))
    save_file(timm.create_model("resnet50").state_dict(), tmp_path / "other.safetensors")
    with pytest.raises(InputError, match=r"does not fit backbone='resnet18' \(.* is missing or of another shape"):
        load_backbone("resnet18", LAYERS, backbone_weights=str(tmp_path / "other.safetensors"))


def test_no_network_is_said_in_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UnreachableError, match=r"weights of resnet18 cannot be reached .*backbone_weights=PATH"):
        load_backbone("resnet18", LAYERS)
