# SPDX-License-Identifier: Apache-2.0
"""Parts of one's own through the stock command: good ones alone, then new ones."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.data.conftest import write_parts

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).parents[2]


def anomalib(command: str, folder: Path, *arguments: str) -> str:
    """Run anomalib's command with the config for one's own parts and the small CLIP."""
    small = ["--model.clip_model", "ViT-Ti-Lite0-16-240", "--model.pretrained", "small", "--trainer.accelerator", "cpu"]
    config = ["--config", str(PROJECT / "configs" / "my_parts.yaml"), "--data.normal_dir", "good"]
    ended = subprocess.run(  # noqa: S603
        [Path(sys.executable).parent / "anomalib", command, *config, *small, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    return ended.stdout + ended.stderr


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("mine")
    write_parts(folder / "good", 6)
    write_parts(folder / "new", 2, first_seed=10)
    few = ["--trainer.max_steps", "2", "--data.train_batch_size", "1", "--model.class_name", "bump"]
    return folder, anomalib("train", folder, *few)


def test_good_parts_alone_set_a_threshold_and_are_tested(trained: tuple[Path, str]) -> None:
    folder, output = trained
    assert "held-out good sample" in output
    (checkpoint,) = folder.glob("results/Clip3dAd/Folder3DXYZ/object/v0/weights/lightning/*.ckpt")
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert 0 < state["post_processor._image_threshold"] < 2
    pictures = {path.parent.name for path in folder.glob("results/**/images/**/*.png")}
    assert pictures == {"good", "synthetic"}


def test_new_parts_are_predicted(trained: tuple[Path, str]) -> None:
    folder, _ = trained
    (checkpoint,) = folder.glob("results/Clip3dAd/Folder3DXYZ/object/v0/weights/lightning/*.ckpt")
    anomalib("predict", folder, "--data.predict_dir", "new", "--ckpt_path", str(checkpoint))
    table = folder / "results/Clip3dAd/Folder3DXYZ/object/v0/scores.csv"
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [Path(row["file"]).name for row in rows] == ["000.png", "001.png"]
    assert all(row["label"] in {"good", "faulty"} for row in rows)
    assert len(list(table.parent.glob("masks/**/*.png"))) == 2
    assert len(list(table.parent.glob("images/**/new/*.png"))) == 2
