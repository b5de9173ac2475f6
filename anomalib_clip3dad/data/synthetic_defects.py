# SPDX-License-Identifier: Apache-2.0

"""Good samples and their synthetic anomalies: something to set a threshold on when there is no faulty part."""

from pathlib import Path

import pandas as pd
import torch
from anomalib import TaskType
from anomalib.data.utils import LabelName
from pandas import Series
from torch import Tensor

from anomalib_clip3dad.data.batch import RGBXYZItem
from anomalib_clip3dad.data.organised_dataset import OrganisedDataset
from anomalib_clip3dad.errors import InputError
from anomalib_clip3dad.geometry import foreground_mask
from anomalib_clip3dad.seeding import drawing_from
from anomalib_clip3dad.synthesis import TextureSource, synthesise

_GEOMETRY = 0.5  # share of the anomalies that are in the cloud: nobody knows what the real ones will be
_LABEL = "synthetic"


class SyntheticDefects(OrganisedDataset):
    """Each good sample as it is, and once more with an anomaly on it.

    The anomalies are those of training (`synthesise`), half of them in the cloud; each depends on the seed and its
    place alone, so that every pass sees the same ones.

    Args:
        good: Good samples.
        seed: Seed of the anomalies.

    Raises:
        ValueError: If the samples are unorganised points, on which no anomaly can be made.
    """

    def __init__(self, good: OrganisedDataset, seed: int) -> None:
        if not good.organised:
            msg = "synthetic anomalies need rows and columns of points, and these clouds have none; use anomalous "
            msg += "samples with masks, and val_split_mode and test_split_mode other than synthetic"
            raise InputError(msg)
        faulty = good.samples.assign(label=_LABEL, label_index=int(LabelName.ABNORMAL))
        samples = pd.concat([good.samples, faulty], ignore_index=True)
        super().__init__(samples, good.augmentations)
        # anomalib 2.7.0 has sorted them by path, in which the two of a pair do not differ
        self._samples = self.samples.sort_values(by=["label_index", "image_path"], ignore_index=True)
        self.good = good
        self.seed = seed
        self._textures = TextureSource()

    @property
    def task(self) -> TaskType:
        """Segmentation: the masks are known."""
        return TaskType.SEGMENTATION

    def read(self, row: Series) -> tuple[Tensor, Tensor, Tensor | None]:
        """Read a sample and put its anomaly on it; arguments and answer are those of `OrganisedDataset`."""
        image, xyz = self.good.read_files(row)
        if row.label != _LABEL:
            return image, xyz, torch.zeros(image.shape[-2:], dtype=torch.uint8)
        foreground = foreground_mask(xyz[None])[0]
        with drawing_from(self.seed, int(row.name)):
            faulty = synthesise(image, xyz, foreground, self._textures, geometry=_GEOMETRY)
        return faulty.image, faulty.xyz, faulty.mask.to(torch.uint8)

    def __getitem__(self, index: int) -> RGBXYZItem:
        """Read one sample and augment it; as `OrganisedDataset`, but that the path of a faulty one is no file."""
        item = super().__getitem__(index)
        if item.gt_label:  # or its image would be drawn over that of the good one
            path = Path(str(item.image_path))
            item.image_path = str(path.parent / _LABEL / path.name)
        return item
