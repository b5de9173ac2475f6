# SPDX-License-Identifier: Apache-2.0
"""Compare an exported file with its checkpoint on given parts, in every runtime that reads it."""

from pathlib import Path
from statistics import median
from time import perf_counter
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from anomalib_clip3dad.errors import InputError, MissingFileError
from anomalib_clip3dad.inference.in_torch import Torch
from anomalib_clip3dad.inference.runtimes import OnnxRuntime, OpenVino, Runtime

from .samples import pairs_of, read_pair

SCORE_TOLERANCE, MAP_TOLERANCE = 1e-3, 2e-3  # of scores in [0, 1], for files that are not compressed


class Judged(NamedTuple):
    """Result of one runtime for one sample.

    Attributes:
        score: The `pred_score`.
        anomaly_map: Anomaly map, (S, S).
        seconds: Duration of the prediction.
    """

    score: float
    anomaly_map: np.ndarray
    seconds: float


def parity(checkpoint: Path, export: Path, data: Path = Path(), intrinsics: Path | None = None) -> list[str]:
    """Compare scores and anomaly maps of a checkpoint and its exported file.

    Args:
        checkpoint: The .ckpt file.
        export: The .onnx file, which both ONNX Runtime and OpenVINO read, or the .xml file for OpenVINO.
        data: Folder of samples, as for `clip3dad check`; default: the current one.
        intrinsics: JSON file of the camera intrinsics; default: intrinsics.json in the folder or above it.
    """
    pairs = pairs_of(data)
    runtimes = _runtimes(checkpoint, export)
    answers: dict[str, dict[str, Judged]] = {}
    for image, scan in tqdm(pairs, desc="samples"):
        batch = [values[None].numpy() for values in read_pair(image, scan, data, intrinsics)]
        answers[str(image.relative_to(data))] = {name: _judge(run, *batch) for name, run in runtimes.items()}
    console = Console()
    console.print(_samples(answers))
    console.print(_summary(answers))
    faults = _faults(runtimes, answers)
    for fault in faults:
        console.print(f"- {fault}", markup=False, highlight=False, soft_wrap=True)
    return faults


def _runtimes(checkpoint: Path, export: Path) -> dict[str, Runtime]:
    for path in (checkpoint, export):
        if not path.is_file():
            msg = f"{path}: no such file; give a checkpoint and the file exported from it"
            raise MissingFileError(msg)
    if export.suffix not in {".onnx", ".xml"}:
        msg = f"{export}: found {export.suffix or 'no extension'}; give the exported .onnx or .xml"
        raise InputError(msg)
    runtimes: dict[str, Runtime] = {"torch": Torch(checkpoint, "cpu")}
    if export.suffix == ".onnx":
        runtimes["ONNX Runtime"] = OnnxRuntime(export, "cpu")
    runtimes["OpenVINO"] = OpenVino(export, "cpu")
    return runtimes


def _judge(run: Runtime, image: np.ndarray, xyz: np.ndarray) -> Judged:
    start = perf_counter()
    answer = run(image, xyz)
    return Judged(answer["pred_score"].item(), answer["anomaly_map"][0], perf_counter() - start)


def _difference(one: Judged, other: Judged) -> tuple[float, float]:
    """Difference of the scores, and largest difference of the maps."""
    return abs(one.score - other.score), float(np.abs(one.anomaly_map - other.anomaly_map).max())


def _largest(answers: dict[str, dict[str, Judged]], name: str) -> tuple[float, float]:
    differences = [_difference(judged["torch"], judged[name]) for judged in answers.values()]
    return max(score for score, _ in differences), max(pixel for _, pixel in differences)


def _samples(answers: dict[str, dict[str, Judged]]) -> Table:
    names = list(next(iter(answers.values())))
    exported = names[1:]
    columns = [f"score, {name}" for name in names] + [f"map, {name} - torch" for name in exported]
    table = Table("sample", *columns, box=None)
    for sample, judged in answers.items():
        scores = [f"{judged[name].score:.4f}" for name in names]
        table.add_row(sample, *scores, *(f"{_difference(judged['torch'], judged[name])[1]:.0e}" for name in exported))
    return table


def _summary(answers: dict[str, dict[str, Judged]]) -> Table:
    table = Table("runtime", "largest difference, score", "map", "ms per sample")
    for name in next(iter(answers.values())):
        seconds = [judged[name].seconds for judged in answers.values()]
        # the first call of each runtime includes its setup
        spent = f"{1000 * median(seconds[1:] or seconds):.0f}"
        differences = [f"{value:.1e}" for value in _largest(answers, name)] if name != "torch" else ["", ""]
        table.add_row(name, *differences, spent)
    return table


def _faults(runtimes: dict[str, Runtime], answers: dict[str, dict[str, Judged]]) -> list[str]:
    torch, *others = runtimes.values()
    faults = []
    if others[0].metadata.weights_hash != torch.metadata.weights_hash:
        faults.append(f"{others[0].path}: it was exported from other weights than those of {torch.path}; export again")
    for name in list(runtimes)[1:]:
        score, pixel = _largest(answers, name)
        if runtimes[name].metadata.compression is None and (score > SCORE_TOLERANCE or pixel > MAP_TOLERANCE):
            faults.append(
                f"{name}: off by {score:.1e} in score (allowed {SCORE_TOLERANCE:.0e}) and {pixel:.1e} in the map "
                f"(allowed {MAP_TOLERANCE:.0e})"
            )
    return faults
