# SPDX-License-Identifier: Apache-2.0

"""MVTec 3D-AD [0], and any data set in its folder layout, with few-shot training.

ROOT/CATEGORY/{train,validation,test}/KIND/{rgb,xyz,gt}/NNN.{png,tiff,png}; KIND is `good` or the name of a defect.

- [0] Bergmann et al., The MVTec 3D-AD Dataset for Unsupervised 3D Anomaly Detection and Localization, VISAPP 2022
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from anomalib.data.utils import LabelName, Split, ValSplitMode
from pandas import DataFrame
from torchvision.transforms.v2 import Transform

from anomalib_clip3dad.data.few_shot_datamodule import FewShotDataModule
from anomalib_clip3dad.data.organised_dataset import COLUMNS, OrganisedDataset
from anomalib_clip3dad.errors import MissingFileError


class MVTec3DXYZ(FewShotDataModule):
    """MVTec 3D-AD with k-shot training and its own validation split.

    Args:
        root: Folder of the categories. Nothing is downloaded.
        category: Folder of one category.
        val_split_mode: `from_dir` is the folder `validation`; others as in `FewShotDataModule`.
        **kwargs: Arguments of `FewShotDataModule`: k_shot, shot_seed, shots, batch sizes, augmentations, split modes.
    """

    def __init__(
        self,
        root: Path | str = "./datasets/MVTec3D",
        category: str = "bagel",
        *,
        val_split_mode: ValSplitMode | str = ValSplitMode.FROM_DIR,
        **kwargs: Any,
    ) -> None:
        # passed straight on, so that jsonargparse finds the arguments of FewShotDataModule for the command line
        super().__init__(val_split_mode=val_split_mode, **kwargs)
        self.root = Path(root)
        self.category = category

    @property
    def folder(self) -> Path:
        """Where the samples are: ROOT/CATEGORY."""
        return self.root / self.category

    def _setup(self, _stage: str | None = None) -> None:
        self._read_splits(self._split, self.folder / "test")

    def _split(self, split: Split) -> "MVTec3DXYZDataset":
        return MVTec3DXYZDataset(root=self.root, category=self.category, split=split)


_DOWNLOAD = "https://www.mvtec.com/company/research/datasets/mvtec-3d-ad"
_FOLDERS = {Split.TRAIN: "train", Split.VAL: "validation", Split.TEST: "test"}
_REMEDIES = {
    Split.TRAIN: "put normal samples into good/rgb/NNN.png and good/xyz/NNN.tiff there",
    Split.VAL: "add it, or set val_split_mode to same_as_test, from_test, from_train or none",
    Split.TEST: "add it, or set test_split_mode to none",
}


class MVTec3DXYZDataset(OrganisedDataset):
    """One split of one category.

    Args:
        root: Folder of the categories.
        category: Folder of one category.
        split: `train` (normal samples only), `val` (the folder `validation`) or `test`.
        augmentations: Transform of torchvision v2, or None.

    Raises:
        FileNotFoundError: If the folder of the split, an XYZ file or the mask of an anomalous sample is missing.
    """

    def __init__(
        self,
        root: Path | str = "./datasets/MVTec3D",
        category: str = "bagel",
        split: Split | str = Split.TRAIN,
        augmentations: Transform | None = None,
    ) -> None:
        super().__init__(list_samples(find_category(Path(root), category), Split(split)), augmentations=augmentations)
        self.category = category


def find_category(root: Path, category: str) -> Path:
    """Find the folder of one category.

    Args:
        root: Folder of the categories.
        category: Name of one.

    Returns:
        ROOT/CATEGORY.

    Raises:
        FileNotFoundError: If there is no such root or no such category in it.
    """
    if not root.is_dir():
        msg = (
            f"{root}: no such data set folder; pass the right root=, or get MVTec 3D-AD from {_DOWNLOAD} and unpack it "
            f"so that {root / category / 'train'} exists"
        )
        raise MissingFileError(msg)
    folder = root / category
    if not folder.is_dir():
        found = ", ".join(sorted(path.parent.name for path in root.glob("*/train"))) or "none"
        if (root / "train").is_dir():
            found += f"; {root} is a category itself: pass its parent as root= and {root.resolve().name} as category="
        msg = f"{folder}: no such category; pass category= as one of those found in {root}: {found}"
        raise MissingFileError(msg)
    return folder


def list_samples(folder: Path, split: Split) -> DataFrame:
    """List the samples of one split and check that no file is missing.

    Args:
        folder: ROOT/CATEGORY.
        split: Of training, only the normal samples are listed.

    Returns:
        One row per image with anomalib's columns path, split, label, image_path, depth_path, mask_path, label_index.
        Paths are plain strings; the mask_path of normal samples is "", since pandas 3 turns any other "none" into a
        float NaN, on which anomalib 2.7.0 fails.

    Raises:
        FileNotFoundError: If the split's folder or one of its files is missing, or it has no images.
    """
    where = folder / _FOLDERS[split]
    if not where.is_dir():
        msg = f"{where}: no such folder; {_REMEDIES[split]}"
        raise MissingFileError(msg)
    kinds = ["good"] if split is Split.TRAIN else sorted(path.name for path in _visible(where) if path.is_dir())
    rows = [
        (str(folder), split.value, *_one_row(where / kind, image)) for kind in kinds for image in _images(where / kind)
    ]
    if not rows:
        msg = f"{where}: no image KIND/rgb/NNN.png found; {_REMEDIES[split]}"
        raise MissingFileError(msg)
    return DataFrame(rows, columns=COLUMNS)


def _visible(folder: Path) -> Iterator[Path]:
    # macOS leaves "._000.png" beside each file of an archive, notebooks leave ".ipynb_checkpoints"
    return (path for path in folder.iterdir() if not path.name.startswith("."))


def _images(kind: Path) -> list[Path]:
    if not (kind / "rgb").is_dir():
        msg = f"{kind / 'rgb'}: no such folder; each KIND of a split needs rgb, xyz and, for defects, gt"
        raise MissingFileError(msg)
    return sorted(path for path in _visible(kind / "rgb") if path.suffix.lower() == ".png")


def _one_row(kind: Path, image: Path) -> tuple[str, str, str, str, int]:
    depth, mask = kind / "xyz" / f"{image.stem}.tiff", kind / "gt" / f"{image.stem}.png"
    if not depth.is_file():
        msg = f"{depth}: no XYZ file for {image}; add it or remove the image"
        raise MissingFileError(msg)
    if kind.name == "good":
        return kind.name, str(image), str(depth), "", int(LabelName.NORMAL)
    if not mask.is_file():
        msg = f"{mask}: no ground truth mask for the anomalous {image}; add it, or put normal samples in good"
        raise MissingFileError(msg)
    return kind.name, str(image), str(depth), str(mask), int(LabelName.ABNORMAL)
