# SPDX-License-Identifier: Apache-2.0
"""Runs what is unfinished of a grid, on this machine by default: one job after the other, each in its own process."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from anomalib_clip3dad.benchmark.grid import Job
from anomalib_clip3dad.benchmark.store import Store, write_json
from anomalib_clip3dad.errors import InputError

Outcome = tuple[Job, dict | str]
"""A job and its record, or the line that says why there is none."""

Runner = Callable[[Sequence[Job]], Iterator[Outcome]]


def run_grid(jobs: Sequence[Job], folder: Path, runner: Runner) -> dict[str, str]:
    """Run all jobs that are not finished yet, and keep each as soon as it is.

    Args:
        jobs: of a grid.
        folder: of the finished jobs.
        runner: what runs them.

    Returns:
        Of each job that failed, by its key, the line that says why.

    Raises:
        ValueError: If the folder cannot be made.
    """
    store = Store(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"output: {folder} cannot be made ({error.strerror}); give another --output"
        raise InputError(msg) from None
    unfinished, failures = store.unfinished(jobs), {}
    different = len({job.key for job in jobs})
    # without smoothing: the time left is judged by all jobs so far, which differ
    with tqdm(total=different, initial=different - len(unfinished), desc="jobs", unit="job", smoothing=0) as bar:
        for job, outcome in runner(unfinished):
            if isinstance(outcome, str):
                failures[job.key] = f"{outcome}; see {store.log(job)}"
                bar.write(f"{job}: {failures[job.key]}")
            else:
                store.save(job, outcome)
            bar.update()
    return failures


def on_this_machine(jobs: Sequence[Job], folder: Path, cpus: int | None = None) -> Iterator[Outcome]:
    """Run jobs in processes of their own, so that memory is each job's own and a crash ends that job alone.

    Args:
        jobs: to run.
        folder: for the logs, KEY.log.
        cpus: threads of each; None = as many as torch takes by itself.

    Yields:
        What became of each.
    """
    for job in jobs:
        yield job, _run_apart(job, Store(folder).log(job), cpus)


def _run_apart(job: Job, log: Path, cpus: int | None) -> dict | str:
    with tempfile.TemporaryDirectory() as scratch, log.open("w", encoding="utf-8") as output:
        asked, result = Path(scratch) / "job.json", Path(scratch) / "result.json"
        write_json(asked, job._asdict())
        command = [sys.executable, "-m", "anomalib_clip3dad.benchmark.worker", str(asked), str(result), str(cpus or 0)]
        # its stdin is a pipe that nobody writes to: it closes when this process ends, however it ends
        own = os.environ | {"TMPDIR": scratch}  # what a killed job leaves there goes with it
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, stderr=output, env=own)  # noqa: S603
        try:
            status = process.wait()
        finally:
            process.kill()
            process.wait()
        if result.is_file():
            return json.loads(result.read_text(encoding="utf-8"))
    last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
    return f"ended with status {status} ({last[0].strip() if last else 'it said nothing'})"
