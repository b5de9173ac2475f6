# SPDX-License-Identifier: Apache-2.0
"""Models that store their shots in one pass instead of training by gradient descent."""

import logging
from abc import abstractmethod
from typing import Any, ClassVar, Literal

import torch
from anomalib.models.components import MemoryBankMixin
from lightning.pytorch import LightningModule
from torch import Tensor

from anomalib_clip3dad.callbacks import prepare_cloud

logger = logging.getLogger(__name__)


class ShotBankMixin(MemoryBankMixin, LightningModule):
    """Passes every shot to the model once, then lets it make its bank. Put it before AnomalibModule among the bases.

    Attributes:
        seed: Seed of random draws for the bank; None uses that of `seed_everything`, or torch's.
        trained_parameters: Number of parameters that `make_bank` trains with an optimiser of its own.
    """

    learns_by: ClassVar[Literal["steps", "bank"]] = "bank"
    seed: int | None = None
    trained_parameters: int = 0
    training_files: Any = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._taken: set[str] = set()  # images that are in the bank

    @abstractmethod
    def remember(self, image: Tensor, xyz: Tensor, foreground: Tensor) -> None:
        """Store shots that were not passed before.

        Args:
            image: (B, 3, H, W) RGB in [0, 1].
            xyz: (B, 3, H, W) organised XYZ in metres, camera frame, (0, 0, 0) = not measured.
            foreground: (B, H, W) bool, true = part.
        """

    @abstractmethod
    def make_bank(self, seed: int) -> None:
        """Make the bank from all stored shots.

        Args:
            seed: Seed of random draws, in [0, 2^32).
        """

    def configure_optimizers(self) -> None:
        """No optimiser."""

    def on_fit_start(self) -> None:
        """Start a new bank."""
        super().on_fit_start()
        self._taken = set()

    def training_step(self, batch: Any, *_: Any) -> Tensor:
        """Store the samples of a batch, each image once: few-shot loaders repeat them to fill batches or steps."""
        loss = torch.zeros((), device=self.device, requires_grad=True)  # Lightning needs a loss
        rows = self._not_taken(batch.image_path, len(batch.image))
        if rows:
            foreground = prepare_cloud(batch)
            self.remember(batch.image[rows].as_subclass(Tensor), batch.depth_map[rows], foreground[rows])
        return loss

    def _not_taken(self, paths: list[str] | None, size: int) -> list[int]:
        """Rows of the batch that are not in the bank; all rows if there are no paths."""
        if not paths:
            return list(range(size))
        rows = [row for row, path in enumerate(paths) if path not in {*self._taken, *paths[:row]}]
        self._taken.update(paths)
        return rows

    def fit(self) -> None:
        """Make the bank after all samples have been stored; anomalib's `MemoryBankMixin` calls it."""
        if self._taken and len(self._taken) < len(self.training_files):
            msg = "Training ended after %d of %d samples; the bank has no others. Leave max_steps out."
            logger.warning(msg, len(self._taken), len(self.training_files))
        self.make_bank(torch.initial_seed() % 2**32 if self.seed is None else self.seed)  # numpy's seeds have 32 bits
