# SPDX-License-Identifier: Apache-2.0
"""A training as it goes on: losses and time left, sheets of the synthesised pairs, curves of the losses."""

import sys
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from anomalib.loggers.base import ImageLoggerBase
from lightning.pytorch import Callback
from matplotlib.figure import Figure
from torch import Tensor

from anomalib_clip3dad.errors import InputError

from .sheet import draw_sheet

FOLDER = "training"
_LOSS = "train_loss"  # how models name their loss, followed by _NAME if it has parts
_NAMES = {"seg": "segmentation", "con": "contrastive"}
_LINES = 20  # lines of a training
_SMOOTHED = 20  # parts of a curve that are averaged
_ABREAST = 3  # curves beside each other
_DPI = 100


class TrainingMonitor(Callback):
    """Prints losses and time left, and draws what a model is trained on; models with training steps add it themselves.

    Twenty lines tell the losses, those logged as `train_loss_NAME` or the one `train_loss`, and the time left, in a
    terminal and in a file alike. `training` in the run's folder gets the curves of the losses at the end, and, from a
    model that is trained on pairs (`trains_on_pairs`), a sheet of those of the first and the last step; anomalib's
    image loggers get all of it.

    Args:
        every: Steps between sheets; None: sheets of the first and the last step alone.

    Raises:
        ValueError: If `every` is below 1.
    """

    def __init__(self, every: int | None = None) -> None:
        if every is not None and every < 1:
            msg = f"every={every}: at least 1 step is needed between sheets"
            raise InputError(msg)
        self.every = every

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:  # noqa: ARG002
        """Start anew."""
        self._began, self._first = time.monotonic(), trainer.global_step
        self._losses: list[tuple[int, dict[str, Tensor]]] = []  # on their device: looking at them would stop a GPU
        self._drawn = 0
        self._batch: Any = None

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:  # noqa: ARG002
        """Keep the losses; print and draw if it is time."""
        if not trainer.is_global_zero:
            return
        step, said = trainer.global_step, trainer.callback_metrics
        parts = [name for name in said if name.startswith(f"{_LOSS}_")] or [name for name in said if name == _LOSS]
        self._losses.append((step, {name.removeprefix(_LOSS).removeprefix("_"): said[name].detach() for name in parts}))
        self._batch = batch
        total = trainer.estimated_stepping_batches
        known = total != float("inf")
        if step in {1, total} or step % (max(1, total // _LINES) if known else _LINES) == 0:
            self._print(trainer, self._line(step, int(total) if known else None))
        if pl_module.trains_on_pairs and (not self._drawn or (self.every and step % self.every == 0)):
            self._draw(trainer, pl_module)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Draw the curves, and the pairs of the last step."""
        if not trainer.is_global_zero or self._batch is None:
            return
        if pl_module.trains_on_pairs and self._drawn != trainer.global_step:
            self._draw(trainer, pl_module)
        self._batch = None
        save_figure(trainer, draw_losses(self._losses), "losses")

    def _line(self, step: int, total: int | None) -> str:
        _, losses = self._losses[-1]
        told = [f"{name_of(name)} {loss.item():.3f}" for name, loss in losses.items()]
        if total is None:
            return f"step {step}: {', '.join(told)}"
        done = step - self._first
        left = timedelta(seconds=round((time.monotonic() - self._began) / max(done, 1) * (total - step)))
        return f"step {step} of {total}: {', '.join([*told, f'{left} left'])}"

    def _print(self, trainer: Any, line: str) -> None:
        bar = trainer.progress_bar_callback
        if bar is not None and sys.stdout.isatty():
            bar.print(line)  # above the bar
        else:
            print(line, flush=True)  # a file shows it at once, too

    def _draw(self, trainer: Any, model: Any) -> None:
        self._drawn = trainer.global_step
        with torch.no_grad():
            sheet = draw_sheet(model, self._batch, f"Synthesised pairs of step {self._drawn}")
        save_figure(trainer, sheet, f"step_{self._drawn:05d}")


def name_of(loss: str) -> str:
    """What a loss is called: "contrastive loss" for "con", and "loss" for the only one, whose name is empty."""
    return f"{_NAMES.get(loss, loss)} loss".lstrip()


def save_figure(trainer: Any, figure: Figure, name: str) -> None:
    """Write a figure into `training` in the folder of a run, and give it to anomalib's image loggers.

    Args:
        trainer: Lightning's trainer.
        figure: The figure.
        name: Its name, without .png.
    """
    file = Path(trainer.default_root_dir) / FOLDER / f"{name}.png"
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=_DPI)
    for logger in trainer.loggers:
        if isinstance(logger, ImageLoggerBase):
            logger.add_image(image=figure, name=f"{FOLDER}/{name}", global_step=trainer.global_step)


def draw_losses(losses: Sequence[tuple[int, Mapping[str, Tensor | float]]]) -> Figure:
    """Draw the losses of a training.

    Args:
        losses: The step and the losses by name, scalars, of each batch; a loss may be missing in some.

    Returns:
        A figure of one curve for each loss, every value thin, and the means of a twentieth of them thick.
    """
    names = list(dict.fromkeys(name for _, found in losses for name in found))
    columns = min(max(1, len(names)), _ABREAST)
    rows = -(-max(1, len(names)) // columns)
    figure = Figure(figsize=(4.6 * columns, 3.2 * rows), dpi=_DPI, layout="constrained", facecolor="white")
    places = figure.subplots(rows, columns, squeeze=False).flat
    for name in names:
        place = next(places)
        steps = torch.tensor([step for step, found in losses if name in found])
        values = torch.stack([torch.as_tensor(found[name]) for _, found in losses if name in found]).float().cpu()
        place.plot(steps, values, color="tab:blue", alpha=0.35, linewidth=1)
        width = max(1, len(values) // _SMOOTHED)
        means = values.unfold(0, width, 1).mean(dim=1)
        place.plot(steps[width - 1 :], means, color="tab:blue", linewidth=2)
        place.set(title=name_of(name), xlabel="step")
        place.grid(alpha=0.3)
    for place in places:
        place.set_axis_off()
    return figure
