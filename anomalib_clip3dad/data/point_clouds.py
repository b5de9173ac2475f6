# SPDX-License-Identifier: Apache-2.0

"""Unorganised clouds in the layout of Real3D-AD [0] and Anomaly-ShapeNet [1], which have no images.

ROOT/CATEGORY/{train,test}/NAME.pcd, and ROOT/CATEGORY/{gt,GT}/NAME.txt for each anomalous test cloud, a line of x, y, z
and label for each point. A test cloud is normal if its name has "good" (Real3D-AD) or "positive" (Anomaly-ShapeNet).
.ply files are read, too.

- [0] Liu et al., Real3D-AD: A Dataset of Point Cloud Anomaly Detection, NeurIPS 2023
- [1] Li et al., Towards Scalable 3D Anomaly Detection and Localization: A Benchmark via 3D Anomaly Synthesis and A
  Self-Supervised Learning Network, CVPR 2024
"""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from anomalib.data.utils import LabelName, Split, ValSplitMode
from pandas import DataFrame, Series
from scipy.spatial import cKDTree
from torch import Tensor
from torchvision.transforms.v2 import Transform
from torchvision.tv_tensors import Image

from anomalib_clip3dad.data.category_folders import CategoryFolders
from anomalib_clip3dad.data.listing import visible
from anomalib_clip3dad.data.organised_dataset import COLUMNS, OrganisedDataset
from anomalib_clip3dad.data.point_files import POINT_SUFFIXES, read_labelled_points, read_points
from anomalib_clip3dad.errors import InputError, MissingFileError
from anomalib_clip3dad.geometry import resample

NUM_POINTS = 57600
"""Usual number of points: 240 x 240. GS-CLIP has 336 x 336 = 112896."""

_SIZE = 240  # of the grey image in place of one
_NORMAL = ("good", "positive")  # in the names of normal test clouds
_TRUTH = ("gt", "GT")
_TEMPLATE = "temp"  # in the names of clouds in `test` that are no samples, which evaluations of Real3D-AD leave out
_FAR = 0.01  # of the cloud's diagonal: a point that is farther from all points of the ground truth is not among them


class PointClouds(CategoryFolders):
    """Unorganised clouds, as one row of a fixed number of points.

    Args:
        root: Folder of the categories. Nothing is downloaded.
        category: Folder of one category.
        num_points: Number of points that each cloud is brought to (`resample`).
        val_split_mode: `none`, since these data sets have nothing to validate on; `from_test` takes a part of the test
            samples, `same_as_test` all.
        **kwargs: Further arguments of `FewShotDataModule`: k_shot, shot_seed, shots, batch sizes, split modes.

    Raises:
        FileNotFoundError: If a folder or the ground truth of an anomalous cloud is missing.
        ValueError: If a file cannot be used, or `num_points` is below 2.
    """

    def __init__(
        self,
        root: Path | str = "./datasets/Real3D-AD-PCD",
        category: str = "airplane",
        num_points: int = NUM_POINTS,
        *,
        val_split_mode: ValSplitMode | str = ValSplitMode.NONE,
        **kwargs: Any,
    ) -> None:
        super().__init__(val_split_mode=val_split_mode, **kwargs)
        if num_points < 2:
            msg = f"num_points={num_points}: at least 2 points are needed; the usual number is {NUM_POINTS}"
            raise InputError(msg)
        if self.val_split_mode == ValSplitMode.FROM_DIR:
            msg = "val_split_mode=from_dir: there is no folder to validate on; use from_test, same_as_test or none"
            raise InputError(msg)
        self.root = Path(root)
        self.category = category
        self.num_points = num_points

    def _split(self, split: Split) -> "PointCloudDataset":
        return PointCloudDataset(list_point_clouds(self.folder, split), self.num_points)


class PointCloudDataset(OrganisedDataset):
    """Reads unorganised clouds.

    Args:
        samples: One row per cloud with `COLUMNS`; `image_path` and `depth_path` are both the cloud's, `mask_path` is
            that of its ground truth.
        num_points: Number of points that each cloud is brought to.
        augmentations: Transform of torchvision v2, or None.
    """

    organised: ClassVar[bool] = False

    def __init__(
        self, samples: DataFrame, num_points: int = NUM_POINTS, augmentations: Transform | None = None
    ) -> None:
        super().__init__(samples, augmentations)
        self.num_points = num_points

    def read_files(self, row: Series) -> tuple[Tensor, Tensor]:
        """Read one cloud.

        Args:
            row: A row of `samples`.

        Returns:
            Image (3, 240, 240), all grey, and points (3, 1, N) float32 as they are in the file: any units, any frame.
            If a point is (0, 0, 0), which would be padding, the cloud is moved along z.
        """
        image, xyz, _ = self._read(row, labelled=False)
        return image, xyz

    def read(self, row: Series) -> tuple[Tensor, Tensor, Tensor | None]:
        """Read one cloud and its labels.

        Args:
            row: A row of `samples`.

        Returns:
            As `read_files`, and mask (1, N) uint8, 1 = defect.
        """
        return self._read(row, labelled=row.label_index != LabelName.NORMAL)

    def _read(self, row: Series, labelled: bool) -> tuple[Tensor, Tensor, Tensor]:
        points = read_points(row.depth_path).points
        if len(points) < 2:
            msg = f"{row.depth_path}: found a single point; export the whole cloud"
            raise InputError(msg)
        found = resample(points, self.num_points)
        labels = np.zeros(len(points), np.uint8)
        if labelled:
            labels = find_labels(row.depth_path, points, row.mask_path)
        xyz = torch.from_numpy(clear_of_padding(found.points))
        mask = torch.from_numpy(labels[found.source])
        return torch.full((3, _SIZE, _SIZE), 0.5), xyz.T[:, None].contiguous(), mask[None]

    def augment(
        self, transform: Transform, image: Tensor, xyz: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Transform the image, (3, H, W), alone: points in a row are no image to resize or turn."""
        return transform(Image(image)), xyz, mask


def clear_of_padding(points: np.ndarray) -> np.ndarray:
    """Move a cloud along z if one of its points is (0, 0, 0), which means padding.

    Args:
        points: (N, 3), any units.

    Returns:
        (N, 3), no point of which is (0, 0, 0).
    """
    if not (points == 0).all(axis=1).any():
        return points
    span = float(np.ptp(points, axis=0).max()) or 1.0
    return points + np.array([0, 0, span - points[:, 2].min()], points.dtype)


def find_labels(name: str | Path, points: np.ndarray, truth: str | Path) -> np.ndarray:
    """Give each point the label of the nearest point of the ground truth.

    Args:
        name: Where the points come from, for the error messages.
        points: (N, 3).
        truth: File of the ground truth, whose points are the same, in any order and rounded.

    Returns:
        (N,) uint8, 1 = defect.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read, shows another cloud, or marks nothing.
    """
    known = read_labelled_points(truth)
    assert known.labels is not None  # noqa: S101
    distances, near = cKDTree(known.points).query(points)
    far = distances > _FAR * np.linalg.norm(np.ptp(points, axis=0))
    if far.any():
        msg = (
            f"{truth}: {int(far.sum())} of {len(points)} points of {name} are not in it; it belongs to another cloud: "
        )
        raise InputError(msg + "unpack both again")
    labels = known.labels[near].astype(np.uint8)
    if not labels.any():
        msg = f"{truth}: marks nothing, but {name} is listed as anomalous; mark the defect, or put good in its name"
        raise InputError(msg)
    return labels


def list_point_clouds(folder: Path, split: Split) -> DataFrame:
    """List the clouds of one split.

    Args:
        folder: ROOT/CATEGORY.
        split: `train` (normal clouds only) or `test`.

    Returns:
        One row per cloud with `COLUMNS`.

    Raises:
        FileNotFoundError: If the split's folder is missing or empty, or an anomalous cloud has no ground truth.
    """
    where = folder / split.value
    found = visible(where, {*POINT_SUFFIXES}) if where.is_dir() else []
    if split is Split.TEST:
        found = [cloud for cloud in found if _TEMPLATE not in cloud.stem]
    if not found:
        msg = f"{where}: no cloud ({', '.join(POINT_SUFFIXES)}) in it; unpack Real3D-AD or Anomaly-ShapeNet so that "
        raise MissingFileError(msg + f"{folder}/train and {folder}/test hold clouds")
    rows = [_row(folder, split, cloud) for cloud in found]
    return DataFrame(rows, columns=COLUMNS)


def _row(folder: Path, split: Split, cloud: Path) -> tuple[str, str, str, str, str, str, int]:
    normal = split is Split.TRAIN or any(word in cloud.stem.lower() for word in _NORMAL)
    files = str(cloud), str(cloud), "" if normal else str(_truth(folder, cloud))
    label = LabelName.NORMAL if normal else LabelName.ABNORMAL
    return str(folder), split.value, "good" if normal else _kind(cloud), *files, int(label)


def _kind(cloud: Path) -> str:
    """Kind of defect: "bulge" of 12_bulge_cut, "concavity" of bag0_concavity3."""
    words = cloud.stem.split("_")
    return (words[1].rstrip("0123456789") if len(words) > 1 else "") or "anomalous"


def _truth(folder: Path, cloud: Path) -> Path:
    for name in _TRUTH:
        file = folder / name / f"{cloud.stem}.txt"
        if file.is_file():
            return file
    msg = f"{folder / _TRUTH[0] / cloud.stem}.txt: not there, though {cloud.name} is anomalous by its name; add it, or "
    raise MissingFileError(msg + "put good in the name of a normal cloud")
