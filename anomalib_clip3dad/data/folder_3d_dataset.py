# SPDX-License-Identifier: Apache-2.0

"""Folders of one's own as a table of samples: pictures and 3D files that share their names."""

from collections import Counter
from pathlib import Path

from anomalib.data.utils import LabelName
from pandas import DataFrame

from anomalib_clip3dad.data.organised_dataset import COLUMNS
from anomalib_clip3dad.data.scans import SCAN_SUFFIXES
from anomalib_clip3dad.errors import InputError, MissingFileError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")
"""What pictures may end in."""

IMAGE_FOLDER = "rgb"
SCAN_FOLDERS = ("xyz", "depth", "cloud")
MASK_FOLDERS = ("gt", "mask")


def pair_files(folder: Path) -> list[tuple[Path, Path]]:
    """Find the samples of a folder: a picture and a 3D file of the same stem.

    Args:
        folder: With pictures in `rgb` and 3D files in `xyz`, `depth` or `cloud`; or with both side by side, in which
            case a 3D file cannot be a .png.

    Returns:
        Picture and 3D file of each sample, sorted by name.

    Raises:
        FileNotFoundError: If there is no such folder, no picture in it, or a picture has no 3D file.
        ValueError: If a stem stands for more than one picture or 3D file.
    """
    if not folder.is_dir():
        msg = f"{folder}: no such folder; give the folder that holds the samples"
        raise MissingFileError(msg)
    images, scans = _listed(*_places(folder))
    if not images:
        msg = f"{folder}: no picture found ({', '.join(IMAGE_SUFFIXES)}); put pictures and 3D files of the same names "
        msg += f"there, or pictures into {IMAGE_FOLDER} and 3D files into {', '.join(SCAN_FOLDERS[:-1])} or "
        msg += SCAN_FOLDERS[-1]
        raise MissingFileError(msg)
    _check_unique(folder, images)
    _check_unique(folder, scans)
    by_stem = {scan.stem: scan for scan in scans}
    lonely = [image for image in images if image.stem not in by_stem]
    if lonely:
        msg = f"{lonely[0]}: no 3D file of that name ({len(lonely)} of {len(images)} pictures have none); add "
        msg += f"{lonely[0].stem}{{{','.join(SCAN_SUFFIXES)}}} or remove the picture"
        raise MissingFileError(msg)
    return [(image, by_stem[image.stem]) for image in images]


def list_folder(folder: Path, label: LabelName, masks: Path | None = None) -> DataFrame:
    """List the samples of one folder, which all have the same label.

    Args:
        folder: See `pair_files`.
        label: Of all samples; `LabelName.UNKNOWN` for those to predict.
        masks: Folder of the masks of faulty samples, of the same stems; `None` looks for `gt` and `mask` in `folder`.

    Returns:
        One row per sample with `COLUMNS`; the mask_path is "" if there are no masks.

    Raises:
        FileNotFoundError: See `pair_files`; or a mask is missing.
        ValueError: See `pair_files`.
    """
    name = {LabelName.NORMAL: "good", LabelName.ABNORMAL: "faulty", LabelName.UNKNOWN: "unknown"}[label]
    found = _mask_folder(folder, masks) if label is LabelName.ABNORMAL else None
    rows = [
        (str(folder), "", name, str(image), str(scan), _mask(found, image) if found else "", int(label))
        for image, scan in pair_files(folder)
    ]
    return DataFrame(rows, columns=COLUMNS)


def _places(folder: Path) -> tuple[Path, Path]:
    """Where the pictures and where the 3D files of a folder are."""
    scans = [folder / name for name in SCAN_FOLDERS if (folder / name).is_dir()]
    if len(scans) > 1:
        msg = f"{folder}: found {', '.join(scan.name for scan in scans)}; keep the one whose 3D files are to be used"
        raise InputError(msg)
    if not (folder / IMAGE_FOLDER).is_dir():
        return folder, folder
    return folder / IMAGE_FOLDER, scans[0] if scans else folder


def _listed(images: Path, scans: Path) -> tuple[list[Path], list[Path]]:
    """Pictures and 3D files, sorted; hidden files are none."""
    kinds = []
    for place, suffixes in ((images, IMAGE_SUFFIXES), (scans, SCAN_SUFFIXES)):
        allowed = set(suffixes) - ({".png"} if images == scans and suffixes is SCAN_SUFFIXES else set())
        visible = (path for path in place.iterdir() if not path.name.startswith("."))
        kinds.append(sorted(path for path in visible if path.suffix.lower() in allowed))
    return kinds[0], kinds[1]


def _check_unique(folder: Path, files: list[Path]) -> None:
    (stem, count), *_ = Counter(file.stem for file in files).most_common(1) or [("", 0)]
    if count > 1:
        names = ", ".join(file.name for file in files if file.stem == stem)
        msg = f"{folder}: {names} share a name; keep one picture and one 3D file of each name"
        raise InputError(msg)


def _mask_folder(folder: Path, masks: Path | None) -> Path | None:
    if masks is not None:
        return masks
    return next((folder / name for name in MASK_FOLDERS if (folder / name).is_dir()), None)


def _mask(folder: Path, image: Path) -> str:
    for suffix in IMAGE_SUFFIXES:
        if (folder / f"{image.stem}{suffix}").is_file():
            return str(folder / f"{image.stem}{suffix}")
    msg = (
        f"{folder}: no mask {image.stem}{{{','.join(IMAGE_SUFFIXES)}}} for the faulty {image}; add it, or give no masks"
    )
    raise MissingFileError(msg)
