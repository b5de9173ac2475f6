# SPDX-License-Identifier: Apache-2.0

"""Folders of one's own as a table of samples: pictures and 3D files that share their names."""

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
    images, scans = list_files(folder)
    pairs, faults = pairs_and_faults(folder, images, scans)
    if faults:
        more = f" ({len(faults) - 1} more: clip3dad check {folder} lists them)" if len(faults) > 1 else ""
        msg = f"{faults[0]}{more}"
        raise type(faults[0])(msg)
    return pairs


def list_files(folder: Path) -> tuple[list[Path], list[Path]]:
    """Find the pictures and the 3D files of a folder.

    Args:
        folder: See `pair_files`.

    Returns:
        Both sorted by name.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If there is more than one folder of 3D files.
    """
    if not folder.is_dir():
        msg = f"{folder}: no such folder; give the folder that holds the samples"
        raise MissingFileError(msg)
    images, scans = _places(folder)
    beside = {".png"} if images == scans else set()  # of two .png nobody knows which is the depth
    return _visible(images, set(IMAGE_SUFFIXES)), _visible(scans, set(SCAN_SUFFIXES) - beside)


def pairs_and_faults(
    folder: Path, images: list[Path], scans: list[Path]
) -> tuple[list[tuple[Path, Path]], list[InputError]]:
    """Pair pictures and 3D files by their stems.

    Args:
        folder: They are from, for the messages.
        images: Pictures.
        scans: 3D files.

    Returns:
        The pairs, sorted by name, and for everything that has no partner or several an error that says what to do.
    """
    if not images:
        msg = f"{folder}: no picture found ({', '.join(IMAGE_SUFFIXES)}); put pictures and 3D files of the same names "
        msg += f"there, or pictures into {IMAGE_FOLDER} and 3D files into {', '.join(SCAN_FOLDERS[:-1])} or "
        return [], [MissingFileError(msg + SCAN_FOLDERS[-1])]
    pictures, clouds = _by_stem(images), _by_stem(scans)
    faults: list[InputError] = []
    pairs = []
    for stem in sorted({*pictures, *clouds}):
        ours, theirs = pictures.get(stem, []), clouds.get(stem, [])
        if len(ours) > 1 or len(theirs) > 1:
            names = ", ".join(path.name for path in (*ours, *theirs))
            msg = f"{folder}: {names} share a name; keep one picture and one 3D file of each name"
            faults.append(InputError(msg))
        elif not theirs:
            wanted = f"{stem}{{{','.join(SCAN_SUFFIXES)}}}"
            msg = f"{ours[0]}: no 3D file of that name; add {wanted} or remove the picture"
            faults.append(MissingFileError(msg))
        elif not ours:
            msg = f"{theirs[0]}: no picture of that name; add it or remove the 3D file"
            faults.append(MissingFileError(msg))
        else:
            pairs.append((ours[0], theirs[0]))
    return pairs, faults


def _by_stem(files: list[Path]) -> dict[str, list[Path]]:
    grouped: dict[str, list[Path]] = {}
    for file in files:
        grouped.setdefault(file.stem, []).append(file)
    return grouped


def _visible(place: Path, suffixes: set[str]) -> list[Path]:
    return sorted(p for p in place.iterdir() if p.suffix.lower() in suffixes and not p.name.startswith("."))


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
    images = folder / IMAGE_FOLDER
    return images if images.is_dir() else folder, scans[0] if scans else folder


def _mask_folder(folder: Path, masks: Path | None) -> Path | None:
    if masks is not None:
        return masks
    return next((folder / name for name in MASK_FOLDERS if (folder / name).is_dir()), None)


def _mask(folder: Path, image: Path) -> str:
    found = [mask for mask in _visible(folder, set(IMAGE_SUFFIXES)) if mask.stem == image.stem]
    if not found:
        names = f"{image.stem}{{{','.join(IMAGE_SUFFIXES)}}}"
        msg = f"{folder}: no mask {names} for the faulty {image}; add it, or give no masks"
        raise MissingFileError(msg)
    return str(found[0])
