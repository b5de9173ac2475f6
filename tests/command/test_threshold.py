# SPDX-License-Identifier: Apache-2.0
import shutil
import sys
from pathlib import Path

import pytest
import torch

from anomalib_clip3dad.command import main
from anomalib_clip3dad.command.samples import pairs_of, read_pair
from anomalib_clip3dad.command.threshold import threshold
from anomalib_clip3dad.data.leaks import sample_digest
from anomalib_clip3dad.errors import InputError
from anomalib_clip3dad.inference import RGBXYZInferencer
from tests.data.conftest import write_parts
from tests.deployed import Deployed


@pytest.fixture
def good(tmp_path: Path) -> Path:
    write_parts(tmp_path / "good", 4)
    return tmp_path / "good"


@pytest.fixture
def checkpoint(deployed: Deployed, tmp_path: Path) -> Path:
    return Path(shutil.copy(deployed.checkpoint, tmp_path / "mine.ckpt"))


def test_the_wanted_share_of_good_parts_is_anomalous(
    checkpoint: Path, good: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert threshold(checkpoint, good, false_alarms=0.25) == []
    assert "1 of 4 good parts lie above it" in capsys.readouterr().out
    inferencer = RGBXYZInferencer(checkpoint, "cpu")
    labels = [inferencer.predict(*read_pair(*pair, good)).pred_label.item() for pair in pairs_of(good)]
    assert sum(labels) == 1


def test_the_command(
    checkpoint: Path, good: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = [str(checkpoint), "--data", str(good), "--false_alarms", "0.25"]
    monkeypatch.setattr(sys, "argv", ["clip3dad", "threshold", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    assert "1 of 4 good parts lie above it" in capsys.readouterr().out


def test_a_rate_that_so_few_cannot_show_is_said(
    checkpoint: Path, good: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = checkpoint.read_bytes()
    threshold(checkpoint, good, out=checkpoint.with_name("new.ckpt"))
    printed = capsys.readouterr().out
    assert "4 good parts cannot show a rate of 0.01" in printed
    assert "100 good parts would tell" in printed
    assert checkpoint.read_bytes() == before
    content = torch.load(checkpoint.with_name("new.ckpt"), weights_only=True)
    assert not list(checkpoint.parent.glob("*.part"))
    assert content["tower_hash"]


def test_shots_do_not_count(checkpoint: Path, good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also if they have been copied under other names."""
    pairs = pairs_of(good)
    content = torch.load(checkpoint, weights_only=True)
    content["training_digests"] = [sample_digest(*pair) for pair in pairs[:2]]
    torch.save(content, checkpoint)
    for folder in ("rgb", "xyz"):
        for file in (good / folder).iterdir():
            file.rename(file.with_stem(f"part {file.stem}"))
    threshold(checkpoint, good, out=checkpoint.with_name("new.ckpt"))
    said = capsys.readouterr().out
    assert "2 of 4 parts are shots and left out." in said
    assert "0 of 2 good parts lie above it" in said
    content["training_digests"] = [sample_digest(*pair) for pair in pairs_of(good)]
    torch.save(content, checkpoint)
    with pytest.raises(InputError, match="all 4 parts are shots, which tell nothing of new parts; give other good"):
        threshold(checkpoint, good)


def test_wrong_arguments_are_named(checkpoint: Path, good: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"false_alarms=1\.5: a share"):
        threshold(checkpoint, good, false_alarms=1.5)
    with pytest.raises(InputError, match=r"none\.ckpt: no such checkpoint"):
        threshold(tmp_path / "none.ckpt", good)
