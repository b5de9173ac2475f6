# SPDX-License-Identifier: Apache-2.0
"""`clip3dad predict`: a trained model over a folder of parts."""

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from anomalib_clip3dad.data.listing import Sample
from anomalib_clip3dad.errors import InputError, MissingFileError
from anomalib_clip3dad.inference.folder import Results, Verdict, arriving, judge, list_parts, new_folder
from anomalib_clip3dad.inference.runtimes import open_model

_LOOK_EVERY = 1.0  # seconds


def predict(
    model: Path,
    folder: Path,
    out: Path | None = None,
    intrinsics: Path | None = None,
    device: str = "auto",
    watch: bool = False,
    runner: Literal["local", "ray"] = "local",
    address: str | None = None,
) -> int:
    """Judge every part of a folder; writes scores.csv, masks, overlays, surfaces and a report.

    An exported model (.onnx, .xml) needs neither torch nor anomalib.

    Args:
        model: The .onnx, .xml or .ckpt file of a trained model.
        folder: Folder of parts, as for `clip3dad check`.
        out: New or empty folder for the results; default: the next of results/predict/v0, v1, ...
        intrinsics: JSON file of the camera intrinsics; default: intrinsics.json in the folder or above it.
        device: cpu, gpu, or auto: what the runtime prefers.
        watch: Go on, and judge parts that arrive in the folder, until interrupted (Ctrl-C).
        runner: local, or ray: spread the parts over a Ray cluster; every machine needs all files under the same paths.
        address: Address of the cluster, "auto" or ray://HOST:PORT; default: one on this machine.

    Returns:
        How many parts could not be judged.
    """
    parts, faults = list_parts(folder)
    _check(parts, folder, out, watch, runner)
    if runner == "ray":
        from anomalib_clip3dad.inference.on_ray import judge_on_ray  # noqa: PLC0415  # needs Ray

        verdicts = judge_on_ray(model, parts, folder, intrinsics, device, address)
    else:
        judged_here = partial(judge, open_model(model, device), folder=folder, intrinsics=intrinsics)
        wait = partial(time.sleep, _LOOK_EVERY)
        verdicts = map(judged_here, arriving(folder, wait) if watch else parts)
    if out:
        out.mkdir(parents=True, exist_ok=True)
    results = Results(out or new_folder(Path("results/predict")), folder, model.name)
    for fault in [] if watch else faults:  # in a folder that is watched, they may be on their way
        results.refuse(fault.name, fault.message)
        print(f"cannot be judged: {fault.name}: {fault.message}", file=sys.stderr)
    try:
        for verdict in _with_progress(verdicts, None if watch else len(parts)):
            results.add(verdict)
            if verdict.error:
                print(f"cannot be judged: {verdict.error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("Interrupted.")
    print("\n".join(results.summary()))
    return results.unjudged


def _check(parts: Sequence[Sample], folder: Path, out: Path | None, watch: bool, runner: str) -> None:
    if watch and runner == "ray":
        msg = "watch: parts that arrive one by one are judged on this machine; leave out --runner ray"
        raise InputError(msg)
    if not parts and not watch:
        msg = f"{folder}: no image with a 3D file of the same name; see `clip3dad check {folder}`"
        raise MissingFileError(msg)
    if out and out.is_dir() and any(out.iterdir()):
        msg = f"out={out}: there are files in it; give a new folder, so that no result is lost"
        raise InputError(msg)


def _with_progress(verdicts: Iterable[Verdict], total: int | None) -> Iterator[Verdict]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, redirect_stderr=True) as progress:
        yield from progress.track(verdicts, total=total, description="parts")
