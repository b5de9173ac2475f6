# SPDX-License-Identifier: Apache-2.0
"""A training as it goes on: losses and time left, sheets of the synthesised pairs, curves of the losses."""

import sys
import time
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

LOSSES = {"train_loss_seg": "segmentation loss", "train_loss_con": "contrastive loss"}
FOLDER = "training"
_LINES = 20  # lines of a training
_SMOOTHED = 20  # parts of a curve that are averaged
_DPI = 100


class TrainingMonitor(Callback):
    """Prints losses and time left, and draws what a model of pairs is trained on; the model adds it itself.

    Twenty lines tell the losses and the time left, in a terminal and in a file alike. `training` in the run's folder
    gets a sheet of the pairs of the first and the last step, and at the end the curves of the losses; anomalib's image
    loggers get them, too.

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
        self._losses.append((step, {name: said[name].detach() for name in LOSSES if name in said}))
        self._batch = batch
        total = trainer.estimated_stepping_batches
        known = total != float("inf")
        if step in {1, total} or step % (max(1, total // _LINES) if known else _LINES) == 0:
            self._print(trainer, self._line(step, int(total) if known else None))
        if not self._drawn or (self.every and step % self.every == 0):
            self._draw(trainer, pl_module)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Draw the pairs of the last step, and the curves."""
        if not trainer.is_global_zero or self._batch is None:
            return
        if self._drawn != trainer.global_step:
            self._draw(trainer, pl_module)
        self._batch = None
        _save(trainer, draw_losses(self._losses), "losses")

    def _line(self, step: int, total: int | None) -> str:
        _, losses = self._losses[-1]
        told = ", ".join(f"{LOSSES[name]} {loss.item():.3f}" for name, loss in losses.items())
        if total is None:
            return f"step {step}: {told}"
        done = step - self._first
        left = timedelta(seconds=round((time.monotonic() - self._began) / max(done, 1) * (total - step)))
        return f"step {step} of {total}: {told}, {left} left"

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
        _save(trainer, sheet, f"step_{self._drawn:05d}")


def _save(trainer: Any, figure: Figure, name: str) -> None:
    file = Path(trainer.default_root_dir) / FOLDER / f"{name}.png"
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=_DPI)
    for logger in trainer.loggers:
        if isinstance(logger, ImageLoggerBase):
            logger.add_image(image=figure, name=f"{FOLDER}/{name}", global_step=trainer.global_step)


def draw_losses(losses: list[tuple[int, dict[str, Tensor]]]) -> Figure:
    """Draw the losses of a training.

    Args:
        losses: The step and the losses by name, scalars, of each batch.

    Returns:
        A figure of one curve for each loss, every value thin, and the means of a twentieth of them thick.
    """
    names = [name for name in LOSSES if all(name in found for _, found in losses)]
    figure = Figure(figsize=(4.6 * max(1, len(names)), 3.2), dpi=_DPI, layout="constrained", facecolor="white")
    steps = torch.tensor([step for step, _ in losses])
    for place, name in zip(figure.subplots(1, max(1, len(names)), squeeze=False)[0], names, strict=False):
        values = torch.stack([found[name] for _, found in losses]).float().cpu()
        place.plot(steps, values, color="tab:blue", alpha=0.35, linewidth=1)
        width = max(1, len(losses) // _SMOOTHED)
        means = values.unfold(0, width, 1).mean(dim=1)
        place.plot(steps[width - 1 :], means, color="tab:blue", linewidth=2)
        place.set(title=LOSSES[name], xlabel="step")
        place.grid(alpha=0.3)
    return figure
