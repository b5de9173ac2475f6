# SPDX-License-Identifier: Apache-2.0
"""A look at a folder of samples before a training: what is there, and what is wrong with it."""

from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from anomalib_clip3dad.data.leaks import same_samples
from anomalib_clip3dad.errors import MissingFileError

from .look import Report, Sample, eyecandies_splits, look, look_at_eyecandies, places


def check(folder: Path, intrinsics: Path | None = None) -> list[str]:
    """Look at a folder of samples, or at all folders of samples in it, and say what to mend before a training.

    Args:
        folder: With images and 3D files; or a category of MVTec 3D-AD's layout or of Eyecandies.
        intrinsics: JSON of the camera; default: intrinsics.json in the folder or above it.
    """
    if not folder.is_dir():
        msg = f"{folder}: no such folder; give the one that holds the samples"
        raise MissingFileError(msg)
    reports = [look_at_eyecandies(folder, split) for split in eyecandies_splits(folder)]
    reports = reports or [look(place, intrinsics, folder) for place in places(folder)]
    console = Console()
    if not console.is_terminal:  # in a file there is room for whole names
        console.width = 200
    console.print(overview(folder, reports))
    faults = [fault for report in reports for fault in report.faults]
    for line in [*faults, *(f"note: {note}" for report in reports for note in report.notes), *_leaks(folder, reports)]:
        console.print(f"- {line}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"{len(faults)} fault{'s' * (len(faults) > 1)}" if faults else "No fault found.")
    return faults


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


def _leaks(folder: Path, reports: list[Report]) -> list[str]:
    """Training samples that are validated or tested on, too; the data modules leave them out if they are shots."""
    trained = [report for report in reports if "train" in report.folder.relative_to(folder).parts]
    found = []
    for report in (other for other in reports if trained and other not in trained):
        for source in trained:
            same = same_samples(source.files, report.files)
            if same:
                names = ", ".join(Path(path).name for path in same[:6]) + ", ..." * (len(same) > 6)
                msg = f"note: {report.folder}: {len(same)} of its samples are also in {source.folder} ({names}); "
                found.append(f"{msg}those trained on are left out")
    return found
