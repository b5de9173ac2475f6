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


def run(command: str, folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run anomalib's command with the config for one's own parts and the small CLIP."""
    small = ["--model.clip_model", "ViT-Ti-Lite0-16-240", "--model.pretrained", "small", "--trainer.accelerator", "cpu"]
    config = ["--config", str(PROJECT / "configs" / "my_parts.yaml"), "--data.normal_dir", "good"]
    return subprocess.run(  # noqa: S603
        [Path(sys.executable).parent / "anomalib", command, *config, *small, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def anomalib(command: str, folder: Path, *arguments: str) -> str:
    """Run it; it must end well."""
    ended = run(command, folder, *arguments)
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
    run_folder = folder / "results/Clip3dAd/Folder3DXYZ/object/v0"
    before = {path: path.stat().st_mtime_ns for path in run_folder.rglob("*")}
    (checkpoint,) = run_folder.glob("weights/lightning/*.ckpt")
    said = anomalib("predict", folder, "--data.predict_dir", "new", "--ckpt_path", str(checkpoint))
    table = run_folder.parent / "predict/v0/scores.csv"
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [Path(row["file"]).name for row in rows] == ["000.png", "001.png"]
    assert all(row["label"] in {"good", "faulty"} for row in rows)
    faulty = sum(row["label"] == "faulty" for row in rows)
    assert f"{faulty} of 2 samples labelled faulty." in said
    assert f"Results: {table.parent}" in said
    assert len(list(table.parent.glob("masks/**/*.png"))) == 2
    assert len(list(table.parent.glob("images/**/new/*.png"))) == 2
    assert {path: path.stat().st_mtime_ns for path in run_folder.rglob("*")} == before


WRONG = {  # arguments, and what the one line says
    "no checkpoint": (["--ckpt_path", "missing.ckpt"], "ckpt_path: missing.ckpt: no such checkpoint"),
    "exported": (["--ckpt_path", "model.onnx"], "ckpt_path: model.onnx is an exported model; give the .ckpt"),
    "damaged": (["--ckpt_path", "bad.ckpt"], "ckpt_path: bad.ckpt is no checkpoint, or not a whole one"),
    "misspelt": (["--data.norml_dir", "new"], "norml_dir: no such argument; did you mean normal_dir"),
    "of the model": (["--model.layer", "null"], "layer: no such argument; did you mean layers"),
    "layers": (["--model.layers", "[6, 9, 12]"], "layers: there is no block 6, 9, 12; the blocks of this CLIP"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_argument_ends_with_one_line(trained: tuple[Path, str], what: str) -> None:
    folder, _ = trained
    (folder / "bad.ckpt").write_bytes(b"cut short")
    (folder / "model.onnx").write_bytes(b"")
    arguments, line = WRONG[what]
    ended = run("predict", folder, "--data.predict_dir", "new", *arguments)
    assert ended.returncode != 0
    assert "Traceback" not in ended.stderr
    assert ended.stderr.strip().splitlines()[-1].startswith(f"error: {line}")


def test_a_prediction_of_nothing_is_refused_and_leaves_no_folder(trained: tuple[Path, str]) -> None:
    folder, _ = trained
    results = folder / "results/Clip3dAd/Folder3DXYZ/object"
    (checkpoint,) = results.glob("v0/weights/lightning/*.ckpt")
    before = sorted(results.rglob("*"))
    ended = run("predict", folder, "--ckpt_path", str(checkpoint))
    assert ended.stderr.strip().splitlines()[-1].startswith("error: predict_dir: there are no samples to predict")
    assert sorted(results.rglob("*")) == before


def test_a_training_that_fails_leaves_no_folder(trained: tuple[Path, str]) -> None:
    folder, _ = trained
    results = folder / "results/Clip3dAd/Folder3DXYZ/object"
    before = sorted(results.iterdir())
    ended = run("train", folder, "--data.normal_dir", "nowhere")
    assert ended.stderr.strip().splitlines()[-1].startswith("error: nowhere: ")
    assert sorted(results.iterdir()) == before
    assert (results / "latest").resolve() == results / "v0"


def test_in_an_empty_folder_it_leaves_none_at_all(tmp_path: Path) -> None:
    ended = run("train", tmp_path, "--data.normal_dir", "nowhere")
    assert ended.stderr.strip().splitlines()[-1].startswith("error: nowhere: ")
    assert not (tmp_path / "results").exists()


def test_the_seed_of_the_config_is_used(trained: tuple[Path, str]) -> None:
    _, output = trained
    assert "Seed set to 42" in output
