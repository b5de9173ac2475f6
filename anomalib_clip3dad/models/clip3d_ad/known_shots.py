# SPDX-License-Identifier: Apache-2.0
"""The shots never change during a fit: what the frozen tower says about them is kept."""

from typing import Any

from anomalib.data import AnomalibDataModule
from lightning.pytorch import LightningModule

from anomalib_clip3dad.callbacks import take_views

from .features import FeatureStore, FrozenFeatures, join


class KnownShotsMixin(LightningModule):
    """Reads each shot once per fit. Put it before AnomalibModule among the bases."""

    model: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._store = FeatureStore()

    def on_fit_start(self) -> None:
        """Forget the shots of another fit."""
        super().on_fit_start()
        self._store = FeatureStore()

    def teardown(self, stage: str) -> None:
        """Let the shots go: their features may take a gigabyte."""
        super().teardown(stage)
        self._store = FeatureStore()

    def _shots(self, batch: Any) -> list[str]:
        """Names of the flawless half of a batch of pairs, if the same file is the same image each time.

        Only anomalib's data modules say whether they augment; nobody knows what another loader does.
        """
        data = getattr(self.trainer, "datamodule", None)
        steady = isinstance(data, AnomalibDataModule) and data.train_augmentations is None
        return batch.image_path[: len(batch.image) // 2] if steady and batch.image_path else []

    def rows_to_read(self, batch: Any) -> slice:
        """Which samples of a batch of pairs have to be rendered and read: all, or the faulty half alone."""
        return slice(len(batch.image) // 2 if self._store.knows(self._shots(batch)) else 0, None)

    def read_pairs(self, batch: Any) -> FrozenFeatures:
        """Frozen features of a batch of pairs; those of the flawless half are computed once per fit."""
        shots, rows = self._shots(batch), self.rows_to_read(batch)
        features = self.model.read(batch.image[rows], take_views(batch))
        if rows.start:
            return join([self._store.get(shots), features])
        self._store.put(shots, features.rows(slice(len(shots))))
        return features
