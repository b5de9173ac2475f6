# SPDX-License-Identifier: Apache-2.0
"""A trained model over a folder of parts, and its results as files. Needs neither torch nor anomalib."""

import csv
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from anomalib_clip3dad.data.files import read_arrays
from anomalib_clip3dad.data.intrinsics import find_intrinsics, read_intrinsics
from anomalib_clip3dad.data.listing import Fault, Sample, list_files
from anomalib_clip3dad.errors import InputError, MissingFileError
from anomalib_clip3dad.labels import label_of, summary
from anomalib_clip3dad.report import surface_of, write_about, write_report, write_surface

from .runtimes import Runtime

COLUMNS = ("file", "score", "label", "error")
_OPAQUE = 0.85  # of an anomaly map over an image where it is 1
# five colours of "inferno", evenly apart; matplotlib may not be there
_HEAT = np.array([(0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164)])
_THRESHOLD = 0.5  # of normalised scores


class Verdict(NamedTuple):
    """What a model says of one part.

    Attributes:
        sample: Its files.
        score: 0.5 = threshold; None if the part cannot be judged.
        faulty: Its label; None without a threshold, or if it cannot be judged.
        anomaly_map: (S, S) in [0, 1], in the frame of the image; None if it cannot be judged.
        mask: (S, S) bool, or None, as `faulty`.
        error: Why it cannot be judged, or "".
        picture: (H, W, 3) uint8 RGB; None if it cannot be judged.
        xyz: (3, H, W) organised XYZ, see `read_arrays`; None if it cannot be judged.
    """

    sample: Sample
    score: float | None = None
    faulty: bool | None = None
    anomaly_map: np.ndarray | None = None
    mask: np.ndarray | None = None
    error: str = ""
    picture: np.ndarray | None = None
    xyz: np.ndarray | None = None


def list_parts(folder: Path) -> tuple[list[Sample], list[Fault]]:
    """List the parts of a folder, and of the folders in it that have an `rgb`.

    Args:
        folder: See `list_files`.

    Returns:
        Those with an image and a 3D file, sorted; and what is wrong with other files.

    Raises:
        FileNotFoundError: If there is no such folder.
    """
    if not folder.is_dir():
        msg = f"{folder}: no such folder; give one with images and 3D files of the same names"
        raise MissingFileError(msg)
    inner = sorted(path.parent for path in folder.rglob("rgb") if path.is_dir())
    listed = [list_files(place, masked=False) for place in inner or [folder]]
    return [sample for each in listed for sample in each.samples], [fault for each in listed for fault in each.faults]


def judge(model: Runtime, sample: Sample, folder: Path, intrinsics: Path | None = None) -> Verdict:
    """Read and judge one part; what cannot be read is said in the verdict.

    Args:
        model: See `open_model`.
        sample: Files of the part.
        folder: Folder up to which intrinsics.json is looked for.
        intrinsics: JSON of the camera, if it is elsewhere.

    Returns:
        The verdict.
    """
    try:
        found = intrinsics or find_intrinsics(sample.image.parent, folder)
        image, xyz = read_arrays(sample.image, sample.scan, read_intrinsics(found) if found else None)
        answer = {name: values[0] for name, values in model(image[None], xyz[None]).items()}
    except InputError as error:
        return Verdict(sample, error=str(error))
    picture = np.moveaxis(255 * image, 0, -1).round().astype(np.uint8)
    score, anomaly_map = answer["pred_score"].item(), answer["anomaly_map"]
    verdict = Verdict(sample, score, anomaly_map=anomaly_map, picture=picture, xyz=xyz)
    if model.metadata.image_threshold is None:  # labels would mean nothing
        return verdict
    return verdict._replace(faulty=bool(answer["pred_label"]), mask=answer["pred_mask"].astype(bool))


class Results:
    """Writes verdicts to a folder as they come, so that an interrupted run loses nothing.

    `scores.csv` has file, score, label (good or faulty) and error; `masks` one channel, 255 = anomalous; `overlays` the
    anomaly map over the image; both in the size of the image; `surfaces` what was measured with its scores. `summary`
    writes the report.

    Args:
        folder: New folder.
        parts: Folder of the parts; files are named as in it.
        model: Name of the model, for the report.

    Attributes:
        labels: Those of the parts that were judged, see `label_of`.
        unjudged: Number of the others.
    """

    def __init__(self, folder: Path, parts: Path, model: str = "") -> None:
        self.folder, self.parts, self.model = folder, parts, model
        self.labels: list[str] = []
        self.unjudged = 0
        self._write_row(COLUMNS)

    def add(self, verdict: Verdict) -> None:
        """Write a verdict."""
        file = verdict.sample.image
        if verdict.score is None or verdict.anomaly_map is None or verdict.picture is None:
            self.refuse(file, verdict.error)
            return
        name = file.relative_to(self.parts).with_suffix(".png")
        colours = Image.fromarray(verdict.picture)
        # raw maps, without a threshold, may be larger than 1
        self._save(overlay(colours, verdict.anomaly_map / max(1.0, verdict.anomaly_map.max())), "overlays", name)
        if verdict.xyz is not None:
            image = np.moveaxis(verdict.picture / 255, -1, 0)
            surface = surface_of(image, verdict.xyz, verdict.anomaly_map, verdict.xyz[2] > 0)
            write_surface(surface, self.folder / "surfaces" / name.with_suffix(".ply"))
        if verdict.mask is not None:
            mask = Image.fromarray(255 * verdict.mask.astype(np.uint8))
            self._save(mask.resize(colours.size, Image.Resampling.NEAREST), "masks", name)
        self.labels.append(label_of(verdict.faulty))
        self._write_row((str(file), f"{verdict.score:.6f}", self.labels[-1], ""))

    def refuse(self, file: Path, error: str) -> None:
        """Write that a file cannot be judged, and why."""
        self._write_row((str(file), "", "", error))
        self.unjudged += 1

    def _write_row(self, row: Iterable[str]) -> None:
        with (self.folder / "scores.csv").open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow(row)

    def _save(self, picture: Image.Image, kind: str, name: Path) -> None:
        file = self.folder / kind / name
        file.parent.mkdir(parents=True, exist_ok=True)
        picture.save(file)

    def summary(self) -> Iterator[str]:
        """Write the report; say how many parts are faulty, how many could not be judged, and where the files are."""
        write_about(self.folder, self.model, _THRESHOLD if any(self.labels) else None)
        report = write_report(self.folder)
        yield from summary(self.labels)
        if self.unjudged:
            yield f"{self.unjudged} could not be judged; the column error of scores.csv says why."
        yield f"Results: {self.folder.absolute()} ({', '.join(sorted(path.name for path in self.folder.iterdir()))})"
        yield f"Report: {report.absolute()}"


def overlay(picture: Image.Image, anomaly_map: np.ndarray) -> Image.Image:
    """Draw an anomaly map over an image.

    Args:
        picture: RGB.
        anomaly_map: (S, S) in [0, 1]; at 0 the image shows through, 0.5, the threshold, is red, 1 light yellow.

    Returns:
        RGB, of the image's size; the image in grey under the colours of the panels.
    """
    resized = Image.fromarray(anomaly_map.astype(np.float32)).resize(picture.size, Image.Resampling.BILINEAR)
    level = np.asarray(resized).clip(0, 1)[..., None]
    heat = np.concatenate([np.interp(level, np.linspace(0, 1, len(_HEAT)), channel) for channel in _HEAT.T], axis=-1)
    grey = np.asarray(picture.convert("L"), dtype=np.float32)[..., None]
    drawn = grey + _OPAQUE * level * (heat - grey)
    return Image.fromarray(np.rint(drawn).astype(np.uint8))


def new_folder(base: Path) -> Path:
    """Make the next of the folders v0, v1, ... in a folder, as anomalib does for trainings."""
    used = [int(path.name[1:]) for path in base.glob("v*") if path.name[1:].isdigit()]
    folder = base / f"v{max(used, default=-1) + 1}"
    folder.mkdir(parents=True)
    return folder


def arriving(folder: Path, wait: Callable[[], object]) -> Iterator[Sample]:
    """Give each part of a folder once, when both of its files are there and no longer change.

    Args:
        folder: See `list_parts`.
        wait: Called before each look at the folder.

    Yields:
        Parts, for ever.
    """
    given: set[Path] = set()
    before: dict[Path, tuple] = {}
    while True:
        now = {}
        for sample in list_parts(folder)[0]:
            if sample.image in given:
                continue
            now[sample.image] = state = tuple(_state(file) for file in (sample.image, sample.scan))
            if before.get(sample.image) == state and None not in state:
                given.add(sample.image)
                yield sample
        before = now
        wait()


def _state(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except FileNotFoundError:  # removed since it was listed
        return None
    return found.st_size, found.st_mtime_ns
