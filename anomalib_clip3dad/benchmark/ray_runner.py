# SPDX-License-Identifier: Apache-2.0
"""Runner that executes jobs as Ray tasks, on one or many machines."""

import os
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from anomalib_clip3dad.benchmark.grid import Job
from anomalib_clip3dad.benchmark.runner import Outcome
from anomalib_clip3dad.benchmark.store import Store
from anomalib_clip3dad.errors import InputError
from anomalib_clip3dad.ray_cluster import cluster


def on_ray(
    jobs: Sequence[Job], folder: Path, address: str | None = None, cpus: int | None = None, gpus: float = 0
) -> Iterator[Outcome]:
    """Run jobs on a Ray cluster, as many at once as it has resources for.

    If paths are relative, every machine must have the current folder and the data under the same paths.

    Args:
        jobs: Jobs to run.
        folder: Folder for the logs of failed jobs, KEY.log.
        address: Address of a running cluster, "auto" or ray://HOST:PORT; None starts one on this machine.
        cpus: CPUs of each job; None = 1.
        gpus: GPUs of each job, also fractions; 0 hides them.

    Yields:
        The outcome of each job when it finishes.

    Raises:
        ImportError: If Ray is not installed.
        ConnectionError: If there is no cluster at the address.
        ValueError: If a job needs more than a cluster on this machine has.
    """
    cpus = cpus or 1
    with cluster(address) as ray:
        if address is None:
            _check_room(ray.cluster_resources(), cpus, gpus)
        # one process per job, since peak memory is that of the process; no retries, since failures would repeat
        task = ray.remote(num_cpus=cpus, num_gpus=gpus, max_calls=1, max_retries=0)(_attempt)
        waiting = {task.remote(job._asdict(), cpus, gpus, str(Path.cwd())): job for job in jobs}
        while waiting:
            (done,), _ = ray.wait(list(waiting), num_returns=1)
            job = waiting.pop(done)
            outcome, said = _result(ray, done)
            if isinstance(outcome, str):
                Store(folder).log(job).write_text(said, encoding="utf-8")
            yield job, outcome


def _attempt(job: dict[str, Any], cpus: int, gpus: float, folder: str) -> tuple[dict | str, str]:
    """Run a job and return its outcome and its output."""
    os.chdir(folder)
    if not gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # Ray shows all GPUs to a task that requests none
    said = StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        from anomalib_clip3dad.benchmark.job import attempt  # noqa: PLC0415 - on the worker, not where Ray is asked

        return attempt(Job(**job), cpus), said.getvalue()


def _result(ray: Any, done: Any) -> tuple[dict | str, str]:
    try:
        return ray.get(done)
    except ray.exceptions.RayError as error:
        said = str(error).strip()
        return f"{type(error).__name__}: {said.splitlines()[0] if said else 'no message'}", said


def _check_room(there: dict[str, float], cpus: int, gpus: float) -> None:
    """Raise if a job needs more than this machine has, since it would wait forever; remote clusters may grow."""
    for name, asked, has in (("cpus", cpus, there.get("CPU", 0)), ("gpus", gpus, there.get("GPU", 0))):
        if asked > has:
            msg = f"--{name}_per_job {asked}: this machine has {has:g}; give less, or --address of a cluster"
            raise InputError(msg)
