# SPDX-License-Identifier: Apache-2.0
"""Runs the unfinished jobs of a grid, by default on this machine, one after the other, each in its own process."""

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
"""A job and its record, or the reason why there is none."""

Runner = Callable[[Sequence[Job]], Iterator[Outcome]]


def run_grid(jobs: Sequence[Job], folder: Path, runner: Runner) -> dict[str, str]:
    """Run all unfinished jobs, and save each result immediately.

    Args:
        jobs: Jobs of a grid.
        folder: Folder of the finished jobs.
        runner: Function that runs the jobs.

    Returns:
        Reason for each failed job, by its key.

    Raises:
        ValueError: If the folder cannot be created.
    """
    store = Store(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"output: {folder} cannot be created ({error.strerror}); give another --output"
        raise InputError(msg) from None
    unfinished, failures = store.unfinished(jobs), {}
    different = len({job.key for job in jobs})
    # no smoothing: jobs differ, so the remaining time is estimated from all jobs so far
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
    """Run each job in its own process, so that memory is measured per job and a crash only ends that job.

    Args:
        jobs: Jobs to run.
        folder: Folder for the logs, KEY.log.
        cpus: Threads of each job; None = torch's default.

    Yields:
        The outcome of each job.
    """
    for job in jobs:
        yield job, _run_apart(job, Store(folder).log(job), cpus)


def _run_apart(job: Job, log: Path, cpus: int | None) -> dict | str:
    with tempfile.TemporaryDirectory() as scratch, log.open("w", encoding="utf-8") as output:
        asked, result = Path(scratch) / "job.json", Path(scratch) / "result.json"
        write_json(asked, job._asdict())
        command = [sys.executable, "-m", "anomalib_clip3dad.benchmark.worker", str(asked), str(result), str(cpus or 0)]
        # its stdin is an unused pipe, which closes when this process ends for any reason
        own = os.environ | {"TMPDIR": scratch}  # leftovers of a killed job are deleted with it
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, stderr=output, env=own)  # noqa: S603
        try:
            status = process.wait()
        finally:
            process.kill()
            process.wait()
        if result.is_file():
            return json.loads(result.read_text(encoding="utf-8"))
    last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
    return f"ended with status {status} ({last[0].strip() if last else 'no message'})"
