# SPDX-License-Identifier: Apache-2.0
"""The shots never change during a fit: what the frozen tower says about them is kept."""

from collections.abc import Callable
from typing import Any

from lightning.pytorch import LightningModule
from torch import Tensor

from anomalib_clip3dad.geometry.foregrounds import Foregrounds
from anomalib_clip3dad.models.frozen_cache import FeatureStore, join, steady_names

from .features import FrozenFeatures


class KnownShotsMixin(LightningModule):
    """Reads each shot once per fit. Put it before AnomalibModule among the bases."""

    cut: Callable[[Tensor, Tensor, Tensor], Any]
    read: Callable[[Any], FrozenFeatures]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._forget()

    def on_fit_start(self) -> None:
        """Forget the shots of another fit."""
        super().on_fit_start()
        self._forget()

    def teardown(self, stage: str) -> None:
        """Let the shots go: their features may take a gigabyte."""
        super().teardown(stage)
        self._forget()

    def _forget(self) -> None:
        self._store: FeatureStore[FrozenFeatures] = FeatureStore()
        self.foregrounds = Foregrounds()

    def _shots(self, batch: Any) -> list[str]:
        """Names of the flawless half of a batch of pairs, if the same file is the same image each time."""
        return steady_names(self.trainer, batch)[: len(batch.image) // 2]

    def read_pairs(self, batch: Any, foreground: Tensor) -> FrozenFeatures:
        """Frozen features of a batch of pairs; those of the normal half are computed once per fit.

        Shots are read one by one: beside other samples the same one may differ in its last bits, and a resumed
        training meets them in other batches than an undisturbed one.

        Args:
            batch: Pairs, the normal half first.
            foreground: (2 B, H, W) bool, of its clouds.

        Returns:
            The features of all 2 B samples.
        """
        shots = self._shots(batch)
        image = batch.image.as_subclass(Tensor)

        def read(rows: slice) -> FrozenFeatures:
            return self.read(self.cut(image[rows], batch.depth_map[rows], foreground[rows]))

        if not shots:
            return read(slice(None))
        normal = []
        for row, shot in enumerate(shots):
            if not self._store.knows([shot]):
                found = read(slice(row, row + 1))
                self._store.put([shot], found)
                normal.append(found)
            else:
                normal.append(self._store.get([shot]))
        return join([*normal, read(slice(len(shots), None))])
