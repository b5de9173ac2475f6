# SPDX-License-Identifier: Apache-2.0

"""The data set that reads a table of samples, whatever the layout of the files is."""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from anomalib import TaskType
from anomalib.data.datasets import AnomalibDepthDataset
from anomalib.data.utils import LabelName
from pandas import DataFrame, Series
from torch import Tensor
from torchvision.transforms.v2 import Transform
from torchvision.tv_tensors import Image, Mask

from anomalib_clip3dad.data.batch import RGBXYZBatch, RGBXYZItem
from anomalib_clip3dad.data.intrinsics import read_intrinsics
from anomalib_clip3dad.data.kept import KeptSamples
from anomalib_clip3dad.data.reading import read_sample, read_truth

COLUMNS = ["path", "split", "label", "image_path", "depth_path", "mask_path", "label_index"]
"""What anomalib's tables of samples hold."""


class OrganisedDataset(AnomalibDepthDataset):
    """RGB + organised XYZ; image, XYZ and mask always go through the augmentations together.

    Geometric transforms move the pixels of all three with the same draw (XYZ and mask by nearest neighbour, so that
    no point is made up between two surfaces); photometric ones change the image only. The coordinates stay those of
    the camera. Pixels that a transform brings in from outside get XYZ (0, 0, 0) = not measured, as long as its `fill`
    is 0, torchvision's default.

    Args:
        samples: One row per image with `COLUMNS` and, for 3D files that need a camera, `intrinsics_path`. Paths of what
            is not there are "".
        augmentations: Transform of torchvision v2, or None.

    Attributes:
        kept: Where decoded samples are kept; None: nowhere.
        organised: Whether the points have rows and columns; only `PointCloudDataset` has others.
    """

    kept: KeptSamples | None = None
    organised: ClassVar[bool] = True

    def __init__(self, samples: DataFrame, augmentations: Transform | None = None) -> None:
        super().__init__(augmentations=augmentations)
        self.samples = samples

    @property
    def task(self) -> TaskType:
        """Segmentation, unless a sample that is not known to be good has no mask.

        anomalib 2.7.0 notes it in the table's attrs, which pandas drops when it joins tables that differ in them.
        """
        unmasked = self.samples[self.samples.label_index != int(LabelName.NORMAL)].mask_path == ""
        return TaskType.CLASSIFICATION if unmasked.any() else TaskType.SEGMENTATION

    @property
    def collate_fn(self) -> Callable[..., Any]:
        """Makes an `RGBXYZBatch` of samples."""
        return RGBXYZBatch.collate

    def read_files(self, row: Series) -> tuple[Tensor, Tensor]:
        """Read image and cloud of one sample; what a data set with files of its own replaces.

        Args:
            row: A row of `samples`.

        Returns:
            Image (3, H, W) RGB in [0, 1], and XYZ (3, H, W) float32 in metres, camera frame, (0, 0, 0) = not measured.
        """
        file = row.get("intrinsics_path", "")
        return read_sample(row.image_path, row.depth_path, read_intrinsics(file) if file else None)

    def read(self, row: Series) -> tuple[Tensor, Tensor, Tensor | None]:
        """Read one sample as its files are.

        Args:
            row: A row of `samples`.

        Returns:
            Image (3, H, W) RGB in [0, 1], XYZ (3, H, W) float32 in metres, camera frame, (0, 0, 0) = not measured, and
            mask (H, W) uint8, 1 = defect, or None if the data set has no masks.
        """
        image, xyz = self.read_files(row)
        if self.task is TaskType.CLASSIFICATION:
            return image, xyz, None
        if row.label_index == LabelName.NORMAL:
            return image, xyz, torch.zeros(image.shape[-2:], dtype=torch.uint8)
        return image, xyz, read_truth(row.mask_path, row.image_path, image)

    def augment(
        self, transform: Transform, image: Tensor, xyz: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Transform one sample; what a data set whose points are no image replaces.

        Args:
            transform: Transform of torchvision v2.
            image: (3, H, W) RGB in [0, 1].
            xyz: (3, H, W) XYZ in metres, camera frame, (0, 0, 0) = not measured.
            mask: (H, W), or None without masks.

        Returns:
            The three, transformed with the same draw.
        """
        # as a Mask, XYZ is resized by nearest neighbour and left alone by photometric transforms
        together = [Image(image), Mask(xyz)] + ([] if mask is None else [Mask(mask)])
        image, xyz, *rest = transform(*together)
        return image, xyz, rest[0] if rest else None

    def __getitem__(self, index: int) -> RGBXYZItem:
        """Read one sample and augment it.

        Args:
            index: Position in `samples`.

        Returns:
            `image` (3, H, W) RGB in [0, 1]; `depth_map` (3, H, W) float32 XYZ in metres, camera frame, (0, 0, 0) = not
            measured; `gt_mask` (H, W) bool, or None without masks; `gt_label` bool, or None if nobody knows; the paths
            of the three files.
        """
        row = self.samples.iloc[index]
        if self.kept is None:
            image, xyz, mask = self.read(row)
        else:
            files = (row.image_path, row.depth_path, row.mask_path, row.get("intrinsics_path", ""))
            image, xyz, mask = self.kept.get(files, lambda: self.read(row))
        if self.augmentations:
            image, xyz, mask = self.augment(self.augmentations, image, xyz, mask)
        return RGBXYZItem(
            image=image,
            depth_map=xyz.as_subclass(Tensor),
            gt_mask=mask,
            gt_label=None if row.label_index == LabelName.UNKNOWN else torch.tensor(int(row.label_index)),
            image_path=row.image_path,
            depth_path=row.depth_path,
            mask_path=row.mask_path,
        )
