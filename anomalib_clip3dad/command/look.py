# SPDX-License-Identifier: Apache-2.0
"""A look at folders of samples, read by the rules of the data modules: what is there, and what is wrong with it."""

from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

from anomalib.data.utils import Split
from pandas import DataFrame
from torch import Tensor
from tqdm import tqdm

from anomalib_clip3dad.data import read_sample
from anomalib_clip3dad.data.eyecandies import SPLIT_FOLDERS, EyecandiesDataset, list_eyecandies
from anomalib_clip3dad.data.files import check_same_size
from anomalib_clip3dad.data.intrinsics import find_intrinsics, read_intrinsics
from anomalib_clip3dad.data.listing import IMAGE_FOLDER, Fault, list_files, visible
from anomalib_clip3dad.data.mvtec_3d import is_good, kinds, list_kind
from anomalib_clip3dad.data.notes import collected, grouped
from anomalib_clip3dad.data.reading import read_mask, read_truth
from anomalib_clip3dad.errors import InputError
from anomalib_clip3dad.geometry import foreground_mask, validity_mask

_LIGHT = 4  # of Eyecandies' six images, the one that is read unless told otherwise
_APART = 3.0  # times the folder's median depth; samples farther or nearer are of another unit
_SMALL_PART = 0.005  # of the pixels
_MOST = 0.6  # of the samples
_UNMEASURED = 0.8  # of the pixels


class Sample(NamedTuple):
    """What one sample is like.

    Attributes:
        size: Rows and columns.
        unmeasured: Share of the pixels.
        near: Smallest depth, metres.
        far: Largest depth, metres.
        part: Share of the pixels that show the part, not the plane it lies on; all measured ones if none is found.
        plane: Whether one is found.
        depth: Median depth, metres.
        name: Path of the 3D file.
    """

    size: tuple[int, int]
    unmeasured: float
    near: float
    far: float
    part: float
    plane: bool
    depth: float
    name: Path


class Report(NamedTuple):
    """What is in a folder.

    Attributes:
        folder: Its path.
        images: Number of images.
        scans: Number of 3D files.
        samples: What could be read.
        faults: What is wrong, one line for each cause, with what to do about it.
        notes: What to know of samples that can be used, likewise.
        files: The image_path and depth_path of all samples.
    """

    folder: Path
    images: int
    scans: int
    samples: list[Sample]
    faults: list[str]
    notes: list[str]
    files: DataFrame


class Files(NamedTuple):
    """The files of a sample and how they are read.

    Attributes:
        image: File of the image.
        scan: 3D file.
        mask: Ground truth, or None.
        read: Gives image and cloud, as the data modules do.
        normal: Whether the mask, if there is one, must not mark anything.
    """

    image: Path
    scan: Path
    mask: Path | None
    read: Callable[[], tuple[Tensor, Tensor]]
    normal: bool = False


def places(folder: Path) -> list[Path]:
    """Find the folders of samples, as the data modules read them.

    Args:
        folder: Folder of samples; or a category of MVTec 3D-AD's layout; or a folder with folders of samples.

    Returns:
        The folder itself, or all KINDs of the category's splits, or the folders in it that have an `rgb`.
    """
    if _is_category(folder):
        splits = [split for split in Split if split is Split.TRAIN or (folder / _split_folder(split)).is_dir()]
        return sorted(kind for split in splits for kind in kinds(folder, split))
    categories = [path for path in visible(folder) if _is_category(path)]
    if categories and not (folder / IMAGE_FOLDER).is_dir():
        return [place for category in categories for place in places(category)]
    inner = sorted(path.parent for path in folder.rglob(IMAGE_FOLDER) if path.is_dir() and ".ipynb" not in str(path))
    return inner or [folder]


def _is_category(folder: Path) -> bool:
    return (folder / "train").is_dir() and not (folder / "train/data").is_dir()


def _split_folder(split: Split) -> str:
    return {Split.VAL: "validation"}.get(split, split.value)


def eyecandies_splits(folder: Path) -> list[Split]:
    """Find the splits of an Eyecandies category; none if it is none."""
    if not any((folder / "train/data").glob("*_depth.png")):
        return []
    return [split for split, name in SPLIT_FOLDERS.items() if (folder / name).is_dir()]


def look(folder: Path, intrinsics: Path | None, top: Path | None = None) -> Report:
    """Read every sample of a folder; what is wrong is noted, never raised.

    Args:
        folder: See `list_files`.
        intrinsics: JSON of the camera, None to look for it.
        top: Folder above it up to which the camera is looked for.
    """
    try:
        in_category = bool(top) and folder.parent.parent == top and _is_category(folder.parent.parent)
        listing = list_kind(folder) if in_category else list_files(folder, masked=False if is_good(folder) else None)
        found = intrinsics or find_intrinsics(folder, top)
        camera = read_intrinsics(found) if found else None
    except InputError as error:
        return Report(folder, 0, 0, [], [str(error)], [], _table([]))
    normal = is_good(folder)
    if normal:
        listing = listing._replace(samples=_with_found_masks(folder, listing.samples))
    files = [
        Files(sample.image, sample.scan, sample.mask, partial(read_sample, sample.image, sample.scan, camera), normal)
        for sample in listing.samples
    ]
    return _report(folder, listing.images, listing.scans, files, listing.faults)


def look_at_eyecandies(folder: Path, split: Split) -> Report:
    """Read every sample of a split of Eyecandies; what is wrong is noted, never raised."""
    place = folder / SPLIT_FOLDERS[split]
    try:
        dataset = EyecandiesDataset(list_eyecandies(folder, split, _LIGHT))
    except InputError as error:
        return Report(place, 0, 0, [], [str(error)], [], _table([]))
    files = [
        Files(Path(row.image_path), Path(row.depth_path), Path(row.mask_path) if row.mask_path else None, read)
        for _, row in dataset.samples.iterrows()
        for read in [partial(dataset.read_files, row)]
    ]
    return _report(place, len(files), len(files), files, [])


def _with_found_masks(folder: Path, samples: list) -> list:
    """Masks of normal samples, which the data modules do not need, where there are any."""
    masked = list_files(folder, masked=None).samples
    return masked if len(masked) == len(samples) else samples


def _report(folder: Path, images: int, scans: int, files: list[Files], listed: list[Fault]) -> Report:
    faults = [(str(fault.name), fault.message) for fault in listed]
    samples: list[Sample] = []
    with collected() as notes:
        for sample in tqdm(files, desc=str(folder), leave=False):
            measured = measure(sample)
            if isinstance(measured, Sample):
                samples.append(measured)
            else:
                faults.append(measured)
    lines, more = grouped(faults), grouped(notes)
    for judge in (_sizes, _distances):
        lines += judge(folder, samples)
    table = _table([(str(sample.image), str(sample.scan)) for sample in files])
    return Report(folder, images, scans, samples, lines, [*more, *_oddities(folder, samples)], table)


def _table(rows: list[tuple[str, str]]) -> DataFrame:
    return DataFrame(rows, columns=["image_path", "depth_path"])


def measure(files: Files) -> Sample | tuple[str, str]:
    """Read one sample and measure it, or say of which file what is wrong with it."""
    try:
        picture, xyz = files.read()
        if files.mask is not None:
            _check_mask(files, picture)
    except InputError as error:
        return _split_message(str(error), files)
    rows, columns = picture.shape[1:]
    valid = validity_mask(xyz[None])[0]
    part = foreground_mask(xyz[None])[0]
    depths = xyz[2][valid]
    return Sample(
        (rows, columns),
        1 - valid.float().mean().item(),
        depths.min().item(),
        depths.max().item(),
        part.float().mean().item(),
        bool((part != valid).any()),
        depths.median().item(),
        files.scan,
    )


def _check_mask(files: Files, picture: Tensor) -> None:
    assert files.mask is not None  # noqa: S101
    if not files.normal:
        read_truth(files.mask, files.image, picture)
        return
    mask = read_mask(files.mask)
    check_same_size(files.image, picture, files.mask, mask)
    if mask.any():
        msg = (
            f"{files.mask}: marks a defect, but the sample is among the normal ones; move it to those of a defect, or "
        )
        msg += "correct the mask"
        raise InputError(msg)


def _split_message(text: str, files: Files) -> tuple[str, str]:
    """Which file an error is about, and what it says."""
    known = [path for path in (files.image, files.scan, files.mask) if path is not None]
    for path in known:
        if text.startswith(f"{path}: "):
            return str(path), text.removeprefix(f"{path}: ")
    return str(files.image), text.removeprefix(f"{files.image} ")


def _sizes(folder: Path, samples: list[Sample]) -> list[str]:
    sizes = Counter(sample.size for sample in samples)
    if len(sizes) <= 1:
        return []
    listed = ", ".join(f"{count} of {rows} x {columns}" for (rows, columns), count in sizes.most_common())
    return [f"{folder}: samples of different sizes ({listed}); export all at one resolution"]


def _distances(folder: Path, samples: list[Sample]) -> list[str]:
    if not samples:
        return []
    usual = median(sample.depth for sample in samples)
    odd = [sample for sample in samples if not usual / _APART < sample.depth < usual * _APART]
    if not odd:
        return []
    names = ", ".join(sample.name.name for sample in odd[:6]) + ", ..." * (len(odd) > 6)
    msg = f"{folder}: most samples are {usual:.3g} m away, but {len(odd)} of {len(samples)} are {odd[0].depth:.3g} m "
    return [f"{msg}({names}); export all in one unit"]


def _oddities(folder: Path, samples: list[Sample]) -> list[str]:
    """What the table shows that may be right, but seldom is."""
    found = []
    count = len(samples)
    planes = sum(sample.plane for sample in samples)
    if 0 < planes < _MOST * count:
        found.append(f"{folder}: a plane that the part lies on is found in {planes} of {count} samples alone")
    if count and median(sample.part for sample in samples) < _SMALL_PART:
        share = median(sample.part for sample in samples)
        found.append(f"{folder}: the part covers {share:.2%} of the image; cut the samples to it")
    if count and median(sample.unmeasured for sample in samples) > _UNMEASURED:
        share = median(sample.unmeasured for sample in samples)
        found.append(f"{folder}: {share:.0%} of the pixels have no point; right if all but the part was cut away")
    return found
