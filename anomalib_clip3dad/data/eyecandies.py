# SPDX-License-Identifier: Apache-2.0

"""Eyecandies [0]: rendered sweets, each under six lights, with depth.

- [0] Bonfiglioli et al., The Eyecandies Dataset for Unsupervised Multimodal Anomaly Detection and Localization, ACCV
  2022
"""

from pathlib import Path
from typing import Any

import numpy as np
import yaml
from anomalib.data.utils import LabelName, Split, ValSplitMode
from pandas import DataFrame, Series
from torch import Tensor

from anomalib_clip3dad.data.category_folders import CategoryFolders
from anomalib_clip3dad.data.files import check_same_size, read_scan
from anomalib_clip3dad.data.intrinsics import Intrinsics
from anomalib_clip3dad.data.listing import visible
from anomalib_clip3dad.data.organised_dataset import COLUMNS, OrganisedDataset
from anomalib_clip3dad.data.plausible import check_sample
from anomalib_clip3dad.data.reading import as_organised, read_image, read_mask
from anomalib_clip3dad.errors import InputError, MissingFileError

_DOWNLOAD = "https://eyecan-ai.github.io/eyecandies/download"
SPLIT_FOLDERS = {Split.TRAIN: "train", Split.VAL: "val", Split.TEST: "test_public"}
"""What the folders of the splits are called."""

# One camera made all images, of 512 x 512 pixels. The scenes are several metres large; conversions for methods made
# for MVTec 3D-AD shrink them to a tenth, and so do we, to lengths that our 5 mm for a background plane are meant for.
_CAMERA = Intrinsics(fx=711.11, fy=711.11, cx=256.0, cy=256.0, depth_scale=0.1)
_CAMERA_SIZE = 512


class Eyecandies(CategoryFolders):
    """Eyecandies with k-shot training; threshold from its own validation split, test on `test_public`.

    Args:
        root: Folder of the categories, ROOT/CATEGORY/{train,val,test_public}/data/NNN_*. Nothing is downloaded.
        category: Folder of one category.
        light: Which of the six images, 0 to 5; 4 is the one that conversions to MVTec 3D-AD's layout take.
        val_split_mode: `from_dir` is the folder `val`; others as in `FewShotDataModule`.
        **kwargs: Arguments of `FewShotDataModule`: k_shot, shot_seed, shots ("000_image_4"), batch sizes,
            augmentations, split modes.

    Raises:
        FileNotFoundError: If a folder or a file of a sample is missing.
        ValueError: If there is no such light, or a file cannot be used.
    """

    test_folder = SPLIT_FOLDERS[Split.TEST]

    def __init__(
        self,
        root: Path | str = "./datasets/Eyecandies",
        category: str = "CandyCane",
        light: int = 4,
        *,
        val_split_mode: ValSplitMode | str = ValSplitMode.FROM_DIR,
        **kwargs: Any,
    ) -> None:
        super().__init__(val_split_mode=val_split_mode, **kwargs)
        if not 0 <= light <= 5:
            msg = f"light={light}: images were made under the lights 0 to 5; give one of them"
            raise InputError(msg)
        self.root = Path(root)
        self.category = category
        self.light = light

    def _split(self, split: Split) -> "EyecandiesDataset":
        return EyecandiesDataset(list_eyecandies(self.folder, split, self.light))


class EyecandiesDataset(OrganisedDataset):
    """Reads depth maps whose range is in a file beside them."""

    def read_files(self, row: Series) -> tuple[Tensor, Tensor]:
        """Read image and depth of one sample.

        Args:
            row: A row of `samples`.

        Returns:
            Image (3, H, W) RGB in [0, 1] and XYZ (3, H, W) float32, a tenth of the scene's metres.
        """
        image, depth = read_image(row.image_path), read_scan(row.depth_path)
        info = Path(str(row.depth_path).replace("_depth.png", "_info_depth.yaml"))
        try:
            limits = yaml.safe_load(info.read_text(encoding="utf-8"))["normalization"]
            low, high = float(limits["min"]), float(limits["max"])
            check_limits(low, high)
        except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError, RecursionError):
            msg = f"{info}: no normalization with min and max, which say what depth {row.depth_path} means; unpack "
            msg += "the category again"
            raise InputError(msg) from None
        if depth.dtype != np.uint16 or depth.ndim != 2:
            msg = f"{row.depth_path}: found {depth.dtype} {depth.shape}; 16-bit depth is needed: unpack it again"
            raise InputError(msg)
        metres = depth.astype(np.float64) / 65535 * (high - low) + low
        smaller = depth.shape[1] / _CAMERA_SIZE
        camera = _CAMERA._replace(**{name: getattr(_CAMERA, name) * smaller for name in ("fx", "fy", "cx", "cy")})
        xyz = as_organised(row.depth_path, metres, camera)
        check_same_size(row.image_path, image, row.depth_path, xyz)
        check_sample(row.image_path, image.numpy(), row.depth_path, xyz.numpy())
        return image, xyz


def check_limits(low: float, high: float) -> None:
    """Refuse limits of a depth that are none.

    Args:
        low: Least depth.
        high: Largest depth.

    Raises:
        ValueError: If they are not 0 < low < high.
    """
    if not 0 <= low < high < np.inf:
        msg = f"min={low}, max={high}: finite numbers are needed, the smaller one first"
        raise ValueError(msg)


def list_eyecandies(folder: Path, split: Split, light: int) -> DataFrame:
    """List the samples of one split.

    Args:
        folder: ROOT/CATEGORY.
        split: `train`, `val` or `test`.
        light: 0 to 5.

    Returns:
        One row per sample with `COLUMNS`. A sample is faulty if anything is marked in its mask.

    Raises:
        FileNotFoundError: If the split's folder is missing or empty, or a file is.
    """
    where = folder / SPLIT_FOLDERS[split] / "data"
    files = visible(where, {".png"}) if where.is_dir() else []
    depths = [path for path in files if path.name.endswith("_depth.png")]
    if not depths:
        msg = f"{where}: no NNN_depth.png; get Eyecandies from {_DOWNLOAD} and unpack it so that it is there"
        raise MissingFileError(msg)
    ends = (f"_image_{light}.png", "_mask.png")
    stems = {file.name.removesuffix(end) for file in files for end in ends if file.name.endswith(end)}
    for stem in sorted(stems - {depth.name.removesuffix("_depth.png") for depth in depths}):
        msg = f"{where / f'{stem}_depth.png'}: not there, though image or mask is; unpack the category again"
        raise MissingFileError(msg)
    return DataFrame([_row(folder, split, depth, light) for depth in depths], columns=COLUMNS)


def _row(folder: Path, split: Split, depth: Path, light: int) -> tuple[str, str, str, str, str, str, int]:
    stem = depth.name.removesuffix("_depth.png")
    image, mask = depth.with_name(f"{stem}_image_{light}.png"), depth.with_name(f"{stem}_mask.png")
    needed = [image] if split is Split.TRAIN else [image, mask]
    for file in needed:
        if not file.is_file():
            msg = f"{file}: not there, though {depth.name} is; unpack the category again"
            raise MissingFileError(msg)
    faulty = split is Split.TEST and bool(read_mask(mask).any())
    label = LabelName.ABNORMAL if faulty else LabelName.NORMAL
    kind = "faulty" if faulty else "good"
    return str(folder), split.value, kind, str(image), str(depth), str(mask) if faulty else "", int(label)
