# SPDX-License-Identifier: Apache-2.0
"""The commands of the README, as a user types them."""

import csv
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).parents[2]
ANOMALIB = Path(sys.executable).parent / "anomalib"
METRICS = ("image_AUROC", "image_AUPR", "pixel_AUROC", "pixel_AUPRO")


def anomalib(command: str, folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run anomalib's command with the config of the paper, made small and quick."""
    small = ["--model.clip_model", "ViT-S-16-alt", "--model.pretrained", "null", "--trainer.accelerator", "cpu"]
    config = ["--config", str(PROJECT / "configs" / "clip3dad.yaml")]
    return subprocess.run(  # noqa: S603
        [ANOMALIB, command, *config, *small, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )


def metrics(output: str) -> dict[str, str]:
    """The table that Lightning prints."""
    return dict(re.findall(r"(\w+_AU\w+)\s*│\s*([\d.]+)", output))


@pytest.fixture(scope="module")
def trained(toy_root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("train")
    data = ["--data.root", str(toy_root), "--data.category", "gear", "--data.k_shot", "1"]
    ended = anomalib("train", folder, *data, "--trainer.max_steps", "2", "--data.train_batch_size", "1")
    assert ended.returncode == 0, ended.stderr[-3000:]
    return folder, ended.stdout + ended.stderr


def checkpoint(folder: Path) -> Path:
    return next(folder.glob("results/Clip3dAd/MVTec3DXYZ/gear/v0/weights/lightning/*.ckpt"))


def test_train(trained: tuple[Path, str]) -> None:
    folder, output = trained
    assert set(metrics(output)) == set(METRICS)
    assert "RANDOM" in output
    pictures = sorted(p.relative_to(folder).as_posix() for p in folder.glob("results/**/images/**/*.png"))
    kinds = ["colour/000", "combined/000", "geometry/000", "good/000", "good/001", "missing/000"]
    assert pictures == [f"results/Clip3dAd/MVTec3DXYZ/gear/v0/images/test/{kind}.png" for kind in kinds]
    content = torch.load(checkpoint(folder), weights_only=True)
    assert content["global_step"] == 2
    (shot,) = content["MVTec3DXYZ"]["training_files"]
    assert re.fullmatch(r"train/good/rgb/00\d\.png", shot)
    assert content["class_name"] == "gear"


@pytest.mark.parametrize("command", ["test", "predict"])
def test_checkpoint(trained: tuple[Path, str], toy_root: Path, tmp_path: Path, command: str) -> None:
    folder, output = trained
    data = ["--data.root", str(toy_root), "--data.category", "gear", "--data.k_shot", "1"]
    if command == "predict":
        data[-2:] = ["--data.shots", '["000"]']
    ended = anomalib(command, tmp_path, *data, "--ckpt_path", str(checkpoint(folder)))
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert len(list(tmp_path.glob("results/**/images/**/*.png"))) == 6
    if command == "test":
        assert metrics(ended.stdout + ended.stderr) == metrics(output)


def test_minimal_example(trained: tuple[Path, str], toy_root: Path, tmp_path: Path) -> None:
    sample = toy_root / "gear" / "test" / "colour"
    files = [sample / "rgb" / "000.png", sample / "xyz" / "000.tiff", tmp_path / "heat.png"]
    ended = subprocess.run(  # noqa: S603
        [sys.executable, PROJECT / "examples" / "minimal.py", checkpoint(trained[0]), *files],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert re.search(r"score [01]\.\d+, (good|faulty)", ended.stdout)
    assert files[-1].stat().st_size > 1000


def test_bad_input_ends_with_one_line(toy_root: Path, tmp_path: Path) -> None:
    ended = anomalib("train", tmp_path, "--data.root", str(toy_root), "--data.category", "bagle")
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    last = ended.stderr.strip().splitlines()[-1]
    assert last.startswith(f"error: {toy_root / 'bagle'}: no such category")
    assert last.endswith("gear")


def test_demo(tmp_path: Path) -> None:
    """What `make demo` runs, with one step."""
    ended = subprocess.run(  # noqa: S603
        [sys.executable, PROJECT / "examples" / "demo.py", "--max_steps", "1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert all(metric.replace("_", " ") in ended.stdout for metric in METRICS)
    assert "the small CLIP of this package" in ended.stdout
    (pictures,) = re.findall(r"All images: (\S+)", ended.stdout)
    assert len(list(Path(pictures).glob("test/*/*.png"))) == 42
    assert (Path(pictures) / "overview.png").is_file()


def test_parts_that_nobody_has_seen_are_judged_without_any_training(toy_root: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    for kind in ("rgb", "xyz"):
        (new / kind).mkdir(parents=True)
        for file in (toy_root / "gear" / "test" / "good" / kind).iterdir():
            shutil.copy(file, new / kind)
    config = PROJECT / "configs" / "zero_shot.yaml"
    command = [ANOMALIB, "predict", "--config", config, "--data.predict_dir", "new", "--trainer.accelerator", "cpu"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)  # noqa: S603
    assert ended.returncode == 0, ended.stderr[-3000:]
    (scores,) = tmp_path.glob("results/**/scores.csv")
    rows = list(csv.DictReader(scores.read_text().splitlines()))
    assert len(rows) == 2
    assert {row["label"] for row in rows} <= {"good", "faulty"}
