# SPDX-License-Identifier: Apache-2.0

"""MVTec 3D-AD [0], and any data set in its folder layout, with few-shot training.

ROOT/CATEGORY/{train,validation,test}/KIND/{rgb,xyz,gt}/NNN.{png,tiff,png}; KIND is `good` or the name of a defect. Each
KIND may be any folder that `list_files` reads: other formats, depth or points with intrinsics.json in it or above.

- [0] Bergmann et al., The MVTec 3D-AD Dataset for Unsupervised 3D Anomaly Detection and Localization, VISAPP 2022
"""

from pathlib import Path
from typing import Any

from anomalib.data.utils import LabelName, Split, ValSplitMode
from pandas import DataFrame
from torchvision.transforms.v2 import Transform

from anomalib_clip3dad.data.category_folders import CategoryFolders
from anomalib_clip3dad.data.intrinsics import find_intrinsics
from anomalib_clip3dad.data.listing import IMAGE_FOLDER, Listing, Sample, list_files, visible
from anomalib_clip3dad.data.organised_dataset import COLUMNS, OrganisedDataset
from anomalib_clip3dad.errors import MissingFileError


class MVTec3DXYZ(CategoryFolders):
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
        split: Split of the data set; of training, only the normal samples are listed.

    Returns:
        One row per image with anomalib's columns path, split, label, image_path, depth_path, mask_path, label_index,
        and intrinsics_path where there are any.
        Paths are plain strings; the mask_path of normal samples is "", since pandas 3 turns any other "none" into a
        float NaN, on which anomalib 2.7.0 fails.

    Raises:
        FileNotFoundError: If the split's folder or one of its files is missing, or a folder in it has no images.
        ValueError: If names are doubled, see `list_files`.
    """
    where = folder / _FOLDERS[split]
    listings = {kind: list_kind(kind) for kind in kinds(folder, split)}
    if not any(listing.images for listing in listings.values()):
        msg = f"{where}: no image KIND/rgb/NNN.png found; {_REMEDIES[split]}"
        raise MissingFileError(msg)
    rows = [
        (*_row(folder, split, kind, sample), str(find_intrinsics(kind, folder) or ""))
        for kind, listing in listings.items()
        for sample in listing.samples_or_error(folder)
    ]
    table = DataFrame(rows, columns=[*COLUMNS, "intrinsics_path"])
    return table if table.intrinsics_path.any() else table.drop(columns="intrinsics_path")


def kinds(folder: Path, split: Split) -> list[Path]:
    """List the folders of one split.

    Args:
        folder: ROOT/CATEGORY.
        split: Split of the data set; of training, only `good` is listed.

    Returns:
        Folders sorted by name.

    Raises:
        FileNotFoundError: If the split's folder is missing.
    """
    where = folder / _FOLDERS[split]
    if not where.is_dir():
        msg = f"{where}: no such folder; {_REMEDIES[split]}"
        raise MissingFileError(msg)
    found = [path for path in visible(where) if path.is_dir()]
    if split is not Split.TRAIN:
        return found
    return [path for path in found if is_good(path)] or [where / "good"]


def is_good(kind: Path) -> bool:
    """Say whether a folder holds normal samples; "Good" does, too."""
    return kind.name.lower() == "good"


def list_kind(kind: Path) -> Listing:
    """List the samples of one folder of a split; those of a defect need masks.

    Args:
        kind: ROOT/CATEGORY/SPLIT/KIND.

    Returns:
        See `list_files`.

    Raises:
        FileNotFoundError: If the folder has no `rgb`.
    """
    if not (kind / IMAGE_FOLDER).is_dir():
        msg = f"{kind / IMAGE_FOLDER}: no such folder; each KIND of a split needs rgb, xyz and, for defects, gt"
        raise MissingFileError(msg)
    return list_files(kind, masked=not is_good(kind))


def _row(folder: Path, split: Split, kind: Path, sample: Sample) -> tuple[str, str, str, str, str, str, int]:
    label = LabelName.NORMAL if is_good(kind) else LabelName.ABNORMAL
    files = str(sample.image), str(sample.scan), str(sample.mask or "")
    return str(folder), split.value, "good" if is_good(kind) else kind.name, *files, int(label)
