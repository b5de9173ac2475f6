# SPDX-License-Identifier: Apache-2.0
"""A folder for each run: predictions and tests of checkpoints get a new one, failed runs leave none."""

import contextlib
import re
import shutil
from pathlib import Path
from typing import Any

from anomalib.utils.path import create_versioned_dir
from lightning.pytorch import Callback
from lightning.pytorch.trainer.states import TrainerFn

from .training import FOLDER


class ResultsFolder(Callback):
    """Sets where a run writes, before any other callback writes something.

    anomalib 2.7.0 writes predictions and tests into the folder of the latest training, whatever the checkpoint, over
    its config and over the results of other runs. Here each prediction gets `predict/v0`, `predict/v1`, ... beside the
    folders of the trainings, and each test `test/v0`, ...; only the test that belongs to a training, in the same
    trainer, stays in the training's folder. `latest` is the last run of its kind.

    The folder of a run that fails is removed, unless it holds a checkpoint or results.
    """

    def __init__(self) -> None:
        self._usual: Path | None = None  # where the trainer writes otherwise
        self._trained: Path | None = None  # the folder of this trainer's training
        self._new: Path | None = None  # made by this run

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:  # noqa: ARG002
        """Choose the folder."""
        usual = Path(trainer.default_root_dir)
        self._usual = usual
        if stage == TrainerFn.FITTING:
            self._trained = usual
            self._new = usual if _is_untouched(usual) else None
        elif stage == TrainerFn.PREDICTING or (
            stage == TrainerFn.TESTING and (usual != self._trained or (usual / "images").exists())
        ):
            base = usual.parent if is_version(usual) or usual.name == "latest" else usual
            made = create_versioned_dir(base / TrainerFn(stage).value) if trainer.is_global_zero else None
            self._new = trainer.strategy.broadcast(made)
            trainer._default_root_dir = str(self._new)

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:  # noqa: ARG002
        """Leave the trainer as it was; an export after a prediction belongs to the training."""
        trainer._default_root_dir = str(self._usual)
        self._new = None  # a later run that fails must not take it away

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:  # noqa: ARG002
        """Remove the folder of a run that left nothing of use."""
        folder = self._new
        usual = Path(trainer.default_root_dir)
        if folder is None and trainer.state.fn == TrainerFn.FITTING and _is_untouched(usual):
            folder = usual  # it failed before `setup`, in the data module
        if folder is not None and folder.is_dir() and trainer.is_global_zero and not _of_use(folder):
            remove_version(folder, type(pl_module).__name__)
        if self._usual is not None:
            trainer._default_root_dir = str(self._usual)
        self._new = None


def is_version(folder: Path) -> bool:
    """Tell whether anomalib made this folder for one run.

    Example:
        >>> is_version(Path("results/Clip3dAd/Toy3D/gear/v12"))
        True
    """
    return re.fullmatch(r"v\d+", folder.name) is not None


def remove_version(folder: Path, model: str) -> None:
    """Remove the folder of a run; `latest` becomes the one before it.

    Args:
        folder: ROOT/MODEL/DATA/CATEGORY/vN, as anomalib makes it; without CATEGORY for data that has none.
        model: Name of the model. Its folder and those in it are removed, too, once they are empty, and so is ROOT if
            it is anomalib's own, `results`.
    """
    shutil.rmtree(folder)
    latest = folder.parent / "latest"
    others = sorted((path for path in folder.parent.iterdir() if is_version(path)), key=lambda path: int(path.name[1:]))
    if latest.is_symlink():
        latest.unlink()
        if others:
            latest.symlink_to(others[-1], target_is_directory=True)
    parents = list(folder.parents)
    to_model = next((place for place, parent in enumerate(parents[:4]) if parent.name == model), 0)
    default_root = bool(to_model) and parents[to_model + 1].name == "results"
    with contextlib.suppress(OSError):  # not empty, or mounted there
        for parent in parents[: to_model + 1 + default_root]:
            parent.rmdir()


def _is_untouched(folder: Path) -> bool:
    """Whether anomalib made this folder for a run that has written nothing."""
    return is_version(folder) and folder.is_dir() and not any(folder.iterdir())


def _of_use(folder: Path) -> bool:
    """Whether a run left a checkpoint or images of results, or a table with more than its heading."""
    tables = (path.read_text(encoding="utf-8").splitlines() for path in folder.rglob("*.csv"))
    files = (path for path in folder.rglob("*") if path.parent.name != FOLDER)  # sheets of pairs are no results
    return any(path.suffix in {".ckpt", ".png"} for path in files) or any(len(rows) > 1 for rows in tables)
