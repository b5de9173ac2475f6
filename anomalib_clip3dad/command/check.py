# SPDX-License-Identifier: Apache-2.0
"""A look at a folder of samples before a training: what is there, and what is wrong with it."""

from collections import Counter
from pathlib import Path
from statistics import median
from typing import NamedTuple

from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from anomalib_clip3dad.data import Intrinsics, read_sample
from anomalib_clip3dad.data.folder_3d import IMAGE_FOLDER, list_files, pairs_and_faults
from anomalib_clip3dad.data.intrinsics import find_intrinsics, read_intrinsics
from anomalib_clip3dad.errors import InputError, MissingFileError
from anomalib_clip3dad.geometry import foreground_mask, validity_mask


class Sample(NamedTuple):
    """What one sample is like.

    Attributes:
        size: rows and columns.
        unmeasured: share of the pixels.
        near: smallest depth, metres.
        far: largest depth, metres.
        part: share of the pixels that show the part, not the plane it lies on; all measured ones if none is found.
        plane: whether one is found.
    """

    size: tuple[int, int]
    unmeasured: float
    near: float
    far: float
    part: float
    plane: bool


class Report(NamedTuple):
    """What is in a folder.

    Attributes:
        folder: Its path.
        images: number of pictures.
        scans: number of 3D files.
        samples: what could be read.
        faults: what is wrong, one line each, with what to do about it.
    """

    folder: Path
    images: int
    scans: int
    samples: list[Sample]
    faults: list[str]


def check(folder: Path, intrinsics: Path | None = None) -> list[str]:
    """Look at a folder of samples, or at all folders of samples in it, and say what to mend before a training.

    Args:
        folder: With pictures and 3D files; or a category of MVTec 3D-AD's layout.
        intrinsics: JSON of the camera; default: intrinsics.json in the folder or above it.
    """
    reports = [look(place, intrinsics) for place in places(folder)]
    console = Console()
    console.print(overview(folder, reports))
    faults = [fault for report in reports for fault in report.faults]
    for fault in faults:
        console.print(f"- {fault}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"{len(faults)} faults" if faults else "No fault found.")
    return faults


def places(folder: Path) -> list[Path]:
    """Find the folders of samples: the folder itself, or those in it that have an `rgb`.

    Raises:
        FileNotFoundError: If there is no such folder.
    """
    if not folder.is_dir():
        msg = f"{folder}: no such folder; give the one that holds the samples"
        raise MissingFileError(msg)
    inner = sorted(path.parent for path in folder.rglob(IMAGE_FOLDER) if path.is_dir())
    return inner or [folder]


def look(folder: Path, intrinsics: Path | None) -> Report:
    """Read every sample of a folder; what is wrong is noted, never raised."""
    try:
        images, scans = list_files(folder)
        found = intrinsics or find_intrinsics(folder)
        camera = read_intrinsics(found) if found else None
    except InputError as error:
        return Report(folder, 0, 0, [], [str(error)])
    pairs, unpaired = pairs_and_faults(folder, images, scans)
    faults = [str(error) for error in unpaired]
    samples: list[Sample] = []
    for image, scan in tqdm(pairs, desc=str(folder), leave=False):
        measured = measure(image, scan, camera)
        if isinstance(measured, str):
            faults.append(measured)
        else:
            samples.append(measured)
    sizes = Counter(sample.size for sample in samples)
    if len(sizes) > 1:
        listed = ", ".join(f"{count} of {rows} x {columns}" for (rows, columns), count in sizes.most_common())
        faults.append(f"{folder}: samples of different sizes ({listed}); export all at one resolution")
    return Report(folder, len(images), len(scans), samples, faults)


def measure(image: Path, scan: Path, camera: Intrinsics | None) -> Sample | str:
    """Read one sample and measure it, or say why its files cannot be used."""
    try:
        picture, xyz = read_sample(image, scan, camera)
    except InputError as error:
        return str(error)
    rows, columns = picture.shape[1:]
    if min(rows, columns) <= 20:
        return f"{image}: {rows} x {columns} pixels are too few to find a part in; export it larger"
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
    )


def overview(folder: Path, reports: list[Report]) -> Table:
    """A row for each folder, named as seen from `folder`."""
    table = Table(box=None, padding=(0, 1, 0, 0))
    for name in ("folder", "RGB", "3D", "read", "size", "no data", "depth", "part", "plane", "faults"):
        table.add_column(name, no_wrap=True)
    for report in reports:
        name = str(report.folder.relative_to(folder))
        counts = [str(report.images), str(report.scans), str(len(report.samples))]
        table.add_row(name, *counts, *_described(report.samples), str(len(report.faults)))
    return table


def _described(samples: list[Sample]) -> list[str]:
    """Size, unmeasured share (median), range of depths, share of the part (median), planes found."""
    if not samples:
        return ["-"] * 5
    sizes = sorted({sample.size for sample in samples})
    return [
        ", ".join(f"{rows}x{columns}" for rows, columns in sizes),
        f"{median(sample.unmeasured for sample in samples):.0%}",
        f"{min(sample.near for sample in samples):.2f}-{max(sample.far for sample in samples):.2f} m",
        f"{median(sample.part for sample in samples):.0%}",
        f"{sum(sample.plane for sample in samples)}/{len(samples)}",
    ]
