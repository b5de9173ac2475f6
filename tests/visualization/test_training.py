# SPDX-License-Identifier: Apache-2.0
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from anomalib.loggers.base import ImageLoggerBase
from matplotlib.figure import Figure
from PIL import Image

from anomalib_clip3dad.errors import InputError
from anomalib_clip3dad.visualization import TrainingMonitor, training
from anomalib_clip3dad.visualization.training import draw_losses


class Logger(ImageLoggerBase):
    def __init__(self) -> None:
        self.got: list[tuple[str, int]] = []

    def add_image(self, image: Any, name: str | None = None, **kwargs: Any) -> None:
        assert isinstance(image, Figure)
        self.got.append((name or "", kwargs["global_step"]))


@pytest.fixture(autouse=True)
def _plain_sheets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "draw_sheet", lambda *_: Figure(figsize=(1, 1)))


def train(
    folder: Path,
    monitor: TrainingMonitor,
    steps: int = 40,
    total: float | None = None,
    pairs: bool = True,
    parts: bool = True,
    **more: Any,
) -> Logger:
    """As many steps as a trainer would call it."""
    logger, model = Logger(), SimpleNamespace(trains_on_pairs=pairs)
    usual = {"is_global_zero": True, "progress_bar_callback": None, "default_root_dir": str(folder)}
    trainer = SimpleNamespace(**usual | {"global_step": 0, "loggers": [logger, object()]} | more)
    trainer.estimated_stepping_batches = total or steps
    monitor.on_train_start(trainer, model)
    for step in range(1, steps + 1):
        trainer.global_step = step
        losses = {"train_loss": 2.0} | ({"train_loss_seg": 0.5 + step, "train_loss_con": 1 / step} if parts else {})
        trainer.callback_metrics = {name: torch.tensor(value) for name, value in losses.items()}
        monitor.on_train_batch_end(trainer, model, None, object(), 0)
    monitor.on_train_end(trainer, model)
    return logger


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))


def test_lines_tell_both_losses_and_the_time_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(100))
    monkeypatch.setattr(training.time, "monotonic", lambda: float(next(clock)))
    train(tmp_path, TrainingMonitor())
    lines = capsys.readouterr().out.splitlines()
    assert [int(line.split()[1]) for line in lines] == [1, *range(2, 41, 2)]
    assert lines[0] == "step 1 of 40: segmentation loss 1.500, contrastive loss 1.000, 0:00:39 left"
    assert lines[-1].endswith("contrastive loss 0.025, 0:00:00 left")


def test_a_loss_without_parts_is_told_by_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(tmp_path, TrainingMonitor(), steps=2, parts=False)
    assert capsys.readouterr().out.splitlines() == [f"step {step} of 2: loss 2.000, 0:00:00 left" for step in (1, 2)]


def test_a_training_without_an_end_says_no_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(tmp_path, TrainingMonitor(), total=float("inf"))
    lines = capsys.readouterr().out.splitlines()
    assert [int(line.split()[1].rstrip(":")) for line in lines] == [1, 20, 40]
    assert re.fullmatch(r"step 40: segmentation loss 40\.500, contrastive loss 0\.025", lines[-1])


def test_in_a_terminal_lines_are_above_the_bar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(training.sys.stdout, "isatty", lambda: True)
    train(tmp_path, TrainingMonitor(), steps=2, progress_bar_callback=SimpleNamespace(print=said.append))
    assert [line.split(":")[0] for line in said] == ["step 1 of 2", "step 2 of 2"]


def test_sheets_of_the_first_and_the_last_step_and_curves(tmp_path: Path) -> None:
    logger = train(tmp_path, TrainingMonitor())
    found = ["training/losses", "training/step_00001", "training/step_00040"]
    assert names(tmp_path) == [f"{name}.png" for name in found]
    assert sorted(logger.got) == [(found[0], 40), (found[1], 1), (found[2], 40)]


def test_sheets_in_between(tmp_path: Path) -> None:
    train(tmp_path, TrainingMonitor(every=15), steps=30)
    assert [name for name in names(tmp_path) if "step" in name] == [
        f"training/step_{step:05d}.png" for step in (1, 15, 30)
    ]
    with pytest.raises(InputError, match="every=0: at least 1 step"):
        TrainingMonitor(every=0)


def test_other_processes_are_silent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert not train(tmp_path, TrainingMonitor(), is_global_zero=False).got
    assert not names(tmp_path)
    assert not capsys.readouterr().out


def test_a_training_without_pairs_has_curves_alone(tmp_path: Path) -> None:
    assert train(tmp_path, TrainingMonitor(every=2), pairs=False).got == [("training/losses", 40)]
    assert names(tmp_path) == ["training/losses.png"]


def test_losses_that_come_later_start_later() -> None:
    losses = [(step, {"local": 1.0} | ({"patch": float(step)} if step > 3 else {})) for step in range(1, 7)]
    local, patch = draw_losses(losses).axes
    assert [place.get_title() for place in (local, patch)] == ["local loss", "patch loss"]
    assert np.array_equal(local.lines[0].get_xdata(), range(1, 7))
    assert np.array_equal(np.asarray(patch.lines[0].get_data()), [[4, 5, 6]] * 2)


def test_curves_of_many_losses_are_three_abreast() -> None:
    places = draw_losses([(1, dict.fromkeys("abcd", 0.0))]).axes
    assert [place.axison for place in places] == [True] * 4 + [False] * 2


def test_curves_hold_every_value_and_their_means(tmp_path: Path) -> None:
    losses = [(step, {"seg": torch.tensor(float(step)), "con": torch.tensor(2.0)}) for step in range(1, 61)]
    figure = draw_losses(losses)
    figure.savefig(tmp_path / "curves.png")
    assert [place.get_title() for place in figure.axes] == ["segmentation loss", "contrastive loss"]
    every, means = (np.asarray(line.get_data()) for line in figure.axes[0].lines)
    assert np.array_equal(every, np.stack([np.arange(1, 61)] * 2))
    assert np.array_equal(means, np.stack([np.arange(3, 61), np.arange(2, 60)]))  # of three steps
    with Image.open(tmp_path / "curves.png") as image:
        assert image.width > 800
