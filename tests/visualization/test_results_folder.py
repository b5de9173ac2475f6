# SPDX-License-Identifier: Apache-2.0
from pathlib import Path
from typing import Any

import pytest
from anomalib.utils.path import create_versioned_dir
from lightning.pytorch import Callback, LightningDataModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.demos.boring_classes import BoringModel

from anomalib_clip3dad.visualization import ResultsFolder


class Writes(Callback):
    """Notes where it is told to write, and writes there."""

    def __init__(self) -> None:
        self.folders: list[Path] = []

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:  # noqa: ARG002
        folder = Path(trainer.default_root_dir)
        self.folders.append(folder)
        if stage != "fit":
            (folder / "images").mkdir(parents=True)
            (folder / "scores.csv").write_text("file,score\n")


class Fails(BoringModel):
    def training_step(self, batch: Any, batch_idx: int) -> Any:  # noqa: ARG002
        msg = "the training fails"
        raise RuntimeError(msg)

    predict_step = training_step


def make_trainer(folder: Path, *callbacks: Callback, **arguments: Any) -> tuple[Trainer, Writes]:
    writes = Writes()
    few = {"max_steps": 1, "limit_test_batches": 1, "limit_predict_batches": 1, "limit_val_batches": 0}
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    found: Any = [ResultsFolder(), writes, *callbacks]
    return Trainer(default_root_dir=folder, callbacks=found, **(few | quiet | arguments)), writes


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("v*"))


def test_every_prediction_and_test_gets_a_folder_of_its_own(tmp_path: Path) -> None:
    run = create_versioned_dir(tmp_path)
    for _ in range(2):  # as two calls of the command
        trainer, writes = make_trainer(run)
        trainer.predict(BoringModel())
        trainer.test(BoringModel(), verbose=False)
        assert Path(trainer.default_root_dir) == run
        assert all(folder.is_dir() for folder in writes.folders)
    assert names(tmp_path) == ["predict/v0", "predict/v1", "test/v0", "test/v1", "v0"]
    assert (tmp_path / "predict/latest").resolve() == tmp_path / "predict/v1"
    assert not any(run.iterdir())


def test_the_test_of_a_training_is_beside_its_checkpoint(tmp_path: Path) -> None:
    run = create_versioned_dir(tmp_path)
    trainer, writes = make_trainer(run, ModelCheckpoint(run / "weights"))
    model = BoringModel()
    trainer.fit(model)
    trainer.test(model, verbose=False)
    trainer.test(model, verbose=False)  # over no other result
    assert writes.folders == [run, run, tmp_path / "test/v0"]


def test_a_training_that_fails_leaves_no_folder(tmp_path: Path) -> None:
    first = create_versioned_dir(tmp_path)
    second = create_versioned_dir(tmp_path)
    trainer, _ = make_trainer(second)
    with pytest.raises(RuntimeError, match="the training fails"):
        trainer.fit(Fails())
    assert names(tmp_path) == ["v0"]
    assert (tmp_path / "latest").resolve() == first


def test_a_prediction_that_fails_leaves_no_folder(tmp_path: Path) -> None:
    trainer, _ = make_trainer(tmp_path)
    with pytest.raises(RuntimeError, match="the training fails"):
        trainer.predict(Fails())
    assert not (tmp_path / "predict").exists()


def test_a_later_run_that_fails_leaves_a_training_alone(tmp_path: Path) -> None:
    run = create_versioned_dir(tmp_path)
    trainer, _ = make_trainer(run, enable_checkpointing=False)
    model = BoringModel()
    trainer.fit(model)
    with pytest.raises(RuntimeError, match="the data are not there"):
        trainer.predict(model, datamodule=NoData())
    assert run.is_dir()


class NoData(LightningDataModule):
    def setup(self, stage: str) -> None:  # noqa: ARG002
        msg = "the data are not there"
        raise RuntimeError(msg)


def test_a_training_without_data_leaves_no_folder(tmp_path: Path) -> None:
    """Lightning sets data modules up before callbacks."""
    trainer, _ = make_trainer(create_versioned_dir(tmp_path))
    with pytest.raises(RuntimeError, match="the data are not there"):
        trainer.fit(BoringModel(), datamodule=NoData())
    assert names(tmp_path) == []


@pytest.mark.parametrize(("root", "left"), [("results", []), ("mine", ["mine"])])
@pytest.mark.parametrize("place", ["Fails/Toy3D/gear", "Fails/Toy3D"])
def test_the_first_training_that_fails_leaves_no_folder_above_either(
    tmp_path: Path, root: str, left: list[str], place: str
) -> None:
    """Only a root that somebody chose, which may have been there before."""
    trainer, _ = make_trainer(create_versioned_dir(tmp_path / root / place))
    with pytest.raises(RuntimeError, match="the training fails"):
        trainer.fit(Fails())
    assert [path.name for path in tmp_path.rglob("*")] == left


class Saves(Callback):
    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        trainer.save_checkpoint(Path(trainer.default_root_dir) / "model.ckpt")


class DrawsSheets(Callback):
    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        sheets = Path(trainer.default_root_dir) / "training"
        sheets.mkdir()
        (sheets / "step_00001.png").touch()


def test_sheets_alone_are_no_results(tmp_path: Path) -> None:
    trainer, _ = make_trainer(create_versioned_dir(tmp_path), DrawsSheets(), enable_checkpointing=False)
    with pytest.raises(RuntimeError, match="the training fails"):
        trainer.fit(Fails())
    assert not names(tmp_path)


@pytest.mark.parametrize("made", ["checkpoint", "by somebody else"])
def test_a_failed_training_keeps_checkpoints_and_what_others_made(tmp_path: Path, made: str) -> None:
    run = create_versioned_dir(tmp_path)
    if made == "by somebody else":
        (run / "notes.txt").touch()
    trainer, _ = make_trainer(run, *([Saves()] if made == "checkpoint" else []))
    with pytest.raises(RuntimeError, match="the training fails"):
        trainer.fit(Fails())
    assert any(run.iterdir())
    assert (tmp_path / "latest").resolve() == run
