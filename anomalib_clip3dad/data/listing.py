# SPDX-License-Identifier: Apache-2.0

"""The files of one folder of samples, and what is wrong with their names: for the readers and for `clip3dad check`."""

import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from anomalib_clip3dad.data.misnamed import pattern_between
from anomalib_clip3dad.data.notes import grouped
from anomalib_clip3dad.data.scans import SCAN_SUFFIXES
from anomalib_clip3dad.errors import InputError, MissingFileError

IMAGE_FOLDER = "rgb"
SCAN_FOLDERS = ("xyz", "depth", "cloud")
MASK_FOLDERS = ("gt", "mask")

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
"""What images may end in; beside 3D files, .tif and .tiff are those."""

_PICTURES_NOT_READ = {".avif", ".gif", ".heic", ".heif", ".jfif", ".jp2", ".jxl", ".pgm", ".ppm", ".tga", ".webp"}
_PICTURES_NOT_READ |= {".arw", ".cr2", ".dng", ".nef", ".raw"}
_MEANT = {"masks": "mask", "ground_truth": "gt", "groundtruth": "gt", "image": "rgb", "images": "rgb"}


class Sample(NamedTuple):
    """The files of one sample.

    Attributes:
        image: File of the image.
        scan: 3D file.
        mask: Ground truth, or None.
    """

    image: Path
    scan: Path
    mask: Path | None = None


class Fault(NamedTuple):
    """What is wrong with a file or folder.

    Attributes:
        name: Name of the file or folder.
        message: What was found and what to do, without the name.
        kind: The error that a reader raises.
    """

    name: Path
    message: str
    kind: type[InputError] = InputError


class Listing(NamedTuple):
    """The files of one folder.

    Attributes:
        images: Number of images.
        scans: Number of 3D files.
        samples: What fits together, sorted by name.
        faults: What does not.
    """

    images: int
    scans: int
    samples: list[Sample]
    faults: list[Fault]

    def samples_or_error(self, folder: Path) -> list[Sample]:
        """Give the samples if all is well.

        Args:
            folder: What is listed, for the message.

        Returns:
            The samples.

        Raises:
            FileNotFoundError: If the first fault is that something is missing.
            ValueError: If there is any other fault.
        """
        if not self.faults:
            return self.samples
        lines = grouped((str(fault.name), fault.message) for fault in self.faults)
        more = f" ({len(lines) - 1} more: clip3dad check {folder} lists them)" if len(lines) > 1 else ""
        msg = f"{lines[0]}{more}"
        raise self.faults[0].kind(msg)


def list_files(folder: Path, masks: Path | None = None, *, masked: bool | None = None) -> Listing:
    """List the samples of a folder: an image and a 3D file of the same stem, and its mask.

    Args:
        folder: With images in `rgb` and 3D files in `xyz`, `depth` or `cloud`; or with both side by side, in which
            case a 3D file cannot be a .png and an image no .tiff.
        masks: Folder of the masks, of the same stems; `None` looks for `gt` and `mask` in `folder`.
        masked: Whether each sample must have a mask; `None`: if there is a folder of them.

    Returns:
        What is there. Files whose names begin with a dot do not count: macOS leaves "._000.png" beside each file of an
        archive, notebooks leave ".ipynb_checkpoints".

    Raises:
        FileNotFoundError: If there is no such folder.
    """
    if not folder.is_dir():
        msg = f"{folder}: no such folder; give the folder that holds the samples"
        raise MissingFileError(msg)
    faults = _misnamed_folders(folder)
    found = [folder / name for name in SCAN_FOLDERS if (folder / name).is_dir()]
    if len(found) > 1:
        names = ", ".join(place.name for place in found)
        faults.append(Fault(folder, f"found {names}; keep the one whose 3D files are to be used"))
        return Listing(0, 0, [], faults)
    place = folder / IMAGE_FOLDER if (folder / IMAGE_FOLDER).is_dir() else folder
    scan_place = found[0] if found else folder
    # of two .png side by side nobody knows which is the depth, and of two .tiff which is the image
    beside = place == scan_place
    image_suffixes = {*IMAGE_SUFFIXES} - ({".tif", ".tiff"} if beside else set())
    images = visible(place, image_suffixes)
    scans = visible(scan_place, {*SCAN_SUFFIXES} - ({".png"} if beside else set()))
    faults += _unread(place)
    samples, unpaired = _paired(folder, images, scans, place)
    where = masks if masks is not None else _mask_folder(folder)
    if masked or (masked is None and where is not None):
        samples, unmasked = _with_masks(samples, images, where or folder / MASK_FOLDERS[0])
        unpaired += unmasked
    return Listing(len(images), len(scans), samples, faults + unpaired)


def visible(place: Path, suffixes: set[str] | None = None) -> list[Path]:
    """List what is in a folder but for hidden files.

    Args:
        place: The folder.
        suffixes: Which files; None for all, folders too.

    Returns:
        Paths sorted by name.

    Raises:
        FileNotFoundError: If it is not there.
        ValueError: If it may not be read.
    """
    try:
        found = [path for path in place.iterdir() if not path.name.startswith(".")]
    except FileNotFoundError:
        msg = f"{place}: no such folder; add it or correct the path"
        raise MissingFileError(msg) from None
    except OSError as error:
        msg = f"{place}: the folder cannot be listed ({error.strerror}); correct path or permissions"
        raise InputError(msg) from None
    return sorted(path for path in found if suffixes is None or path.suffix.lower() in suffixes)


def _misnamed_folders(folder: Path) -> list[Fault]:
    known = {*SCAN_FOLDERS, *MASK_FOLDERS, IMAGE_FOLDER}
    places = {path.name for path in visible(folder) if path.is_dir()}
    faults = []
    for name in sorted(places - known):
        meant = _MEANT.get(name.lower(), name.lower())
        if meant in known and meant not in places:
            faults.append(Fault(folder / name, f"a folder of this name is not read; rename it to {meant}"))
    return faults


def _unread(place: Path) -> list[Fault]:
    message = f"an image of this format is not read ({', '.join(IMAGE_SUFFIXES)} are); save it as .png or remove it"
    return [Fault(path, message) for path in visible(place, _PICTURES_NOT_READ)]


def _mask_folder(folder: Path) -> Path | None:
    return next((folder / name for name in MASK_FOLDERS if (folder / name).is_dir()), None)


def _paired(folder: Path, images: list[Path], scans: list[Path], place: Path) -> tuple[list[Sample], list[Fault]]:
    """Samples, and for everything that has no partner or several a fault."""
    if not images:
        msg = f"no image found ({', '.join(IMAGE_SUFFIXES)}) in {place}; put images and 3D files of the same names "
        msg += f"there, or images into {IMAGE_FOLDER} and 3D files into {', '.join(SCAN_FOLDERS[:-1])} or "
        return [], [Fault(folder, msg + SCAN_FOLDERS[-1], MissingFileError)]
    pictures, clouds = _by_stem(images), _by_stem(scans)
    doubled = {stem for files in (pictures, clouds) for stem, paths in files.items() if len(paths) > 1}
    faults = []
    for stem in sorted(doubled):
        names = ", ".join(path.name for path in (*pictures.get(stem, []), *clouds.get(stem, [])))
        faults.append(Fault(folder, f"{names} share a name; keep one image and one 3D file of each name"))
    alone = [pictures[stem][0] for stem in sorted({*pictures} - {*clouds} - doubled)]
    others = [clouds[stem][0] for stem in sorted({*clouds} - {*pictures} - doubled)]
    faults += _partnerless(folder, alone, others, images, scans)
    both = sorted(({*pictures} & {*clouds}) - doubled)
    return [Sample(pictures[stem][0], clouds[stem][0]) for stem in both], faults


def _partnerless(
    folder: Path, alone: list[Path], others: list[Path], images: list[Path], scans: list[Path]
) -> list[Fault]:
    pattern = pattern_between(_stems(alone), _stems(others), _stems(images), _stems(scans))
    if pattern:
        msg = f"{len(alone)} images and {len(others)} 3D files have no partner, and {pattern}; give the two files of a "
        msg += f"sample the same name, e.g. {alone[0].name} and {alone[0].stem}{others[0].suffix}"
        return [Fault(folder, msg, MissingFileError)]
    faults = [Fault(image, _no_scan(image, scans[0].parent if scans else None), MissingFileError) for image in alone]
    message = "no image of that name; add it or remove the 3D file"
    return faults + [Fault(scan, message, MissingFileError) for scan in others]


def _no_scan(image: Path, place: Path | None) -> str:
    wanted = f"{image.stem}{{{','.join(SCAN_SUFFIXES)}}}"
    places = [place] if place else [image.parent, *(image.parent.parent / name for name in SCAN_FOLDERS)]
    like = [
        path.name
        for where in places
        if where.is_dir()
        for path in visible(where)
        if path.stem == image.stem and path != image and path.suffix.lower() not in {*SCAN_SUFFIXES, *IMAGE_SUFFIXES}
    ]
    if like:
        return f"no 3D file of that name but {', '.join(like)}, which is no format that is read; export {wanted}"
    return f"no 3D file of that name; add {wanted} or remove the image"


def _with_masks(samples: list[Sample], images: list[Path], place: Path) -> tuple[list[Sample], list[Fault]]:
    masks = _by_stem(visible(place, {*IMAGE_SUFFIXES})) if place.is_dir() else {}
    faults = [
        Fault(place, f"{', '.join(path.name for path in paths)} share a name; keep one mask of each name")
        for paths in masks.values()
        if len(paths) > 1
    ]
    faults += _unread(place) if place.is_dir() else []
    stems = {*_stems([sample.image for sample in samples])}
    missing = [sample.image for sample in samples if _stem(sample.image) not in masks]
    extra = [paths[0] for stem, paths in masks.items() if stem not in stems | {*_stems(images)}]
    pattern = pattern_between(_stems(missing), _stems(extra), _stems(images), [*masks])
    if pattern:
        msg = f"{len(missing)} images have no mask and {len(extra)} masks no image, and {pattern}; give both "
        faults.append(Fault(place, f"{msg}the same name, e.g. {missing[0].stem}{extra[0].suffix}", MissingFileError))
    else:
        remedy = f"{{{','.join(IMAGE_SUFFIXES)}}} in {place}; add it, or put normal samples in good"
        faults += [Fault(image, f"no mask {image.stem}{remedy}", MissingFileError) for image in missing]
        faults += [Fault(mask, "a mask without an image; add the image or remove the mask") for mask in extra]
    return [sample._replace(mask=masks.get(_stem(sample.image), [None])[0]) for sample in samples], faults


def _stem(path: Path) -> str:
    return unicodedata.normalize("NFC", path.stem)  # macOS writes accents apart from their letters


def _stems(paths: Sequence[Path]) -> list[str]:
    return [_stem(path) for path in paths]


def _by_stem(files: list[Path]) -> dict[str, list[Path]]:
    grouped_files: dict[str, list[Path]] = {}
    for file in files:
        grouped_files.setdefault(_stem(file), []).append(file)
    return grouped_files
