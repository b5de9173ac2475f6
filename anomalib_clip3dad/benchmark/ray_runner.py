# SPDX-License-Identifier: Apache-2.0
"""The same jobs on many machines, as tasks of Ray."""

from collections.abc import Iterator, Sequence
from typing import Any

from anomalib_clip3dad.benchmark.grid import Job
from anomalib_clip3dad.benchmark.runner import Outcome
from anomalib_clip3dad.errors import MissingPackageError


def on_ray(
    jobs: Sequence[Job], address: str | None = None, cpus: int | None = None, gpus: float = 0
) -> Iterator[Outcome]:
    """Run jobs on a Ray cluster, as many at once as it has room for; the data must be where every machine finds it.

    Args:
        jobs: to run.
        address: of a running cluster, "auto" or ray://HOST:PORT; None starts one on this machine.
        cpus: that each job takes; None = 1.
        gpus: that each job takes, or a part of one.

    Yields:
        What became of each, as they come.

    Raises:
        ImportError: If Ray is not installed.
    """
    ray = _import_ray()
    started = not ray.is_initialized()
    if started:
        ray.init(address=address, log_to_driver=False, include_dashboard=False if address is None else None)
    cpus = cpus or 1
    # a worker ends with its job, as its peak memory would be the next one's, too; what failed once fails again
    task = ray.remote(num_cpus=cpus, num_gpus=gpus, max_calls=1, max_retries=0)(_attempt)
    try:
        waiting = {task.remote(job._asdict(), cpus): job for job in jobs}
        while waiting:
            (done,), _ = ray.wait(list(waiting), num_returns=1)
            yield waiting.pop(done), _result(ray, done)
    finally:
        if started:
            ray.shutdown()


def _attempt(job: dict[str, Any], cpus: int) -> dict | str:
    from anomalib_clip3dad.benchmark.job import attempt  # noqa: PLC0415 - on the worker, not where Ray is asked

    return attempt(Job(**job), cpus)


def _result(ray: Any, done: Any) -> dict | str:
    try:
        return ray.get(done)
    except ray.exceptions.RayError as error:
        return str(error).strip().splitlines()[-1]


def _import_ray() -> Any:
    try:
        import ray  # noqa: PLC0415 - optional
    except ImportError:
        msg = "--runner ray: Ray is not installed; pip install 'anomalib_clip3dad[distributed]', or use --runner local"
        raise MissingPackageError(msg) from None
    return ray
