# SPDX-License-Identifier: Apache-2.0
"""The report of a run as one HTML file."""

import base64
import csv
import io
import json
import zlib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from anomalib_clip3dad.errors import MissingFileError
from anomalib_clip3dad.labels import FAULTY, GOOD

from .surface import Surface, read_surface

_WIDEST = 860  # pixels of a panel
_QUALITY = 60
_PICTURES = ("images", "overlays")  # folders of a run
NAME = "report.html"


class Row(NamedTuple):
    """A sample of a run.

    Attributes:
        name: Its file, as in the run's folders, without the ending.
        score: Its score; None if it could not be judged.
        label: good, faulty, or "" without a threshold.
        kind: What it is known to be, or "".
    """

    name: str
    score: float | None
    label: str
    kind: str


def write_report(run: Path, most: int = 200) -> Path:
    """Write the report of a run into its folder.

    The page holds everything that it shows: samples sorted by score with their panel and the surface of the part to
    turn, a histogram of the scores, and tables of labels by kind of defect.

    Args:
        run: Folder with `scores.csv` and any of `images`, `overlays`, `surfaces` and `run.json`, see `write_about`.
        most: Largest number of samples that are shown, those with the highest scores; all are counted.

    Returns:
        Path of the page.

    Raises:
        FileNotFoundError: If the folder has no scores.
    """
    rows = sorted(read_rows(run), key=lambda row: -(row.score if row.score is not None else np.inf))
    about = json.loads((run / "run.json").read_text(encoding="utf-8")) if (run / "run.json").is_file() else {}
    content = {
        "title": run.name if run.parent == run else f"{run.parent.name}/{run.name}",
        "model": about.get("model", ""),
        "threshold": about.get("threshold"),
        "scores": [row._asdict() for row in rows],
        "kinds": by_kind(rows),
        "samples": [_shown(run, row) for row in rows[:most]],
    }
    page = files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    # "</" would end the script
    text = json.dumps(content, separators=(",", ":"), allow_nan=False).replace("</", "<\\/")
    (run / NAME).write_text(page.replace("/*CONTENT*/null", text), encoding="utf-8")
    return run / NAME


def write_about(run: Path, model: str, threshold: float | None) -> None:
    """Write what the report says of the model, `run.json`.

    Args:
        run: See `write_report`.
        model: Its name.
        threshold: What the scores are compared with; None without a threshold.
    """
    (run / "run.json").write_text(json.dumps({"model": model, "threshold": threshold}), encoding="utf-8")


def read_rows(run: Path) -> list[Row]:
    """Read the scores of a run.

    Args:
        run: See `write_report`.

    Returns:
        Its samples.

    Raises:
        FileNotFoundError: If the folder has no scores.
    """
    table = run / "scores.csv"
    if not table.is_file():
        msg = f"{table}: no such table of scores; give the folder of a prediction or a test, as its last line says it"
        raise MissingFileError(msg)
    with table.open(newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    pictured = _pictured(run)
    return [
        Row(
            _name(pictured, row["file"]),
            float(row["score"]) if row["score"] else None,
            row["label"],
            row.get("kind", ""),
        )
        for row in found
    ]


def _pictured(run: Path) -> list[tuple[str, ...]]:
    """Parts of the names of all samples that the run has an image of, without the ending."""
    folders = (run / kind for kind in _PICTURES)
    return [file.relative_to(folder).with_suffix("").parts for folder in folders for file in folder.rglob("*.png")]


def _name(pictured: Sequence[tuple[str, ...]], file: str) -> str:
    """The name that a run gave to a file: its last folders, where the folder `rgb` may be left out.

    A relative path can be shorter than the name, so one has to be the end of the other.
    """
    path = Path(file).with_suffix("")
    every = tuple(part for part in path.parts if part not in {path.anchor, ".."})
    short = tuple(part for part in every if part != "rgb")
    ends = [
        (common, name)
        for name in pictured
        for parts in (every, short)
        if (common := min(len(name), len(parts))) and name[-common:] == parts[-common:]
    ]
    return "/".join(max(ends)[1] if ends else short[-3:])


def by_kind(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Count the labels of each kind.

    Args:
        rows: Samples.

    Returns:
        For each kind that is known: `kind`, number of `samples`, how many are labelled `faulty` and `good`, and the
        mean `score`; normal samples last.

    Example:
        >>> by_kind([Row("a", 0.75, "faulty", "hole"), Row("b", 0.25, "good", "hole")])
        [{'kind': 'hole', 'samples': 2, 'faulty': 1, 'good': 1, 'score': 0.5}]
    """
    kinds = sorted({row.kind for row in rows if row.kind}, key=lambda kind: (kind == GOOD, kind))
    table = []
    for kind in kinds:
        own = [row for row in rows if row.kind == kind]
        scores = [row.score for row in own if row.score is not None]
        counts = {label: sum(row.label == label for row in own) for label in (FAULTY, GOOD)}
        mean = float(np.mean(scores)) if scores else None
        table.append({"kind": kind, "samples": len(own), **counts, "score": mean})
    return table


def _shown(run: Path, row: Row) -> dict[str, Any]:
    pictures = (run / kind / f"{row.name}.png" for kind in _PICTURES)
    picture = next((path for path in pictures if path.is_file()), None)
    solid = run / "surfaces" / f"{row.name}.ply"
    return {
        "picture": packed_picture(picture) if picture else None,
        "surface": packed_surface(read_surface(solid)) if solid.is_file() else None,
    }


def packed_picture(file: Path) -> str:
    """An image as JPEG in a data URL, at most `_WIDEST` pixels wide."""
    with Image.open(file) as opened:
        picture = opened.convert("RGB")
    if picture.width > _WIDEST:
        picture = picture.resize((_WIDEST, round(picture.height * _WIDEST / picture.width)), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def packed_surface(surface: Surface) -> dict[str, Any] | None:
    """A surface for the page: places as 16 bit of the box around them, scores as 8 bit, compressed.

    Returns:
        `points` and `faces`, their numbers, and `data`: places, colours, scores and triangles, deflated, in base 64;
        None if there is no triangle. Indices are 16 bit: more points are left out with their triangles.
    """
    most = np.iinfo(np.uint16).max
    faces = surface.faces[(surface.faces <= most).all(axis=1)]
    if not len(faces):
        return None
    points = surface.points[: most + 1].astype(np.float64)
    low, high = points.min(axis=0), points.max(axis=0)
    scale = max(float((high - low).max()), 1e-9)
    places = np.rint((points - (low + high) / 2) / scale * 65534 + 32767).astype("<u2")
    colours = surface.colours[: most + 1]
    scores = np.rint(255 * surface.scores[: most + 1].clip(0, 1)).astype(np.uint8)
    # by columns: neighbours are alike, which compresses
    raw = b"".join([places.T.tobytes(), colours.T.tobytes(), scores.tobytes(), faces.T.astype("<u2").tobytes()])
    data = base64.b64encode(zlib.compress(raw, 9)).decode()
    return {"points": len(points), "faces": len(faces), "data": data}
