# SPDX-License-Identifier: Apache-2.0
"""Cost estimate of a grid, from finished jobs if there are any, otherwise a guess that is marked as such."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from anomalib_clip3dad.benchmark.grid import USUAL_BATCH, Job
from anomalib_clip3dad.benchmark.store import Store

START_SECONDS = 20  # start of a process, mostly imports


class Cost(NamedTuple):
    """Cost of a job.

    Attributes:
        seconds: Total time, None if unknown.
        memory: Peak memory in bytes, None if unknown.
        gpu_memory: Peak GPU memory in bytes, None if unknown or without a GPU.
        basis: Where the numbers come from.
    """

    seconds: float | None
    memory: float | None
    gpu_memory: float | None
    basis: str


class Rule(NamedTuple):
    """Measured cost of a model with default arguments, for 4 shots on 2 CPU cores; does not hold for GPUs.

    Attributes:
        step: Seconds per training step of one sample.
        sample: Seconds per test sample.
        memory: Peak memory in bytes.
        steps: Default number of training steps; None = one pass over the shots.
    """

    step: float
    sample: float
    memory: float
    steps: int | None = None


_GIB = 2**30
_BASELINES = "anomalib_clip3dad.benchmark.baselines"
RULES = {
    "anomalib_clip3dad.models.Clip3dAd": Rule(7, 3, 3.6 * _GIB, steps=200),
    "anomalib_clip3dad.models.Btf": Rule(0.7, 0.55, 1.5 * _GIB),
    f"{_BASELINES}.Patchcore": Rule(0.3, 0.3, 1.6 * _GIB),
    f"{_BASELINES}.WinClip": Rule(0, 9, 2.9 * _GIB),
    f"{_BASELINES}.CFM": Rule(35, 18, 4.9 * _GIB),
}
_RULES_ARE_FOR = "anomalib_clip3dad.data.MVTec3DXYZ"
_TEST_SAMPLES = 120  # MVTec 3D-AD has 1197 in ten categories


def estimate(jobs: Sequence[Job], folder: Path) -> list[Cost]:
    """Look up or estimate the cost of each job.

    Args:
        jobs: Jobs of a grid.
        folder: Folder of the finished jobs.

    Returns:
        One cost per job: from its own record if it is finished; else mean time and largest memory of finished jobs of
        the same model and k; else, for a category of MVTec 3D-AD, a guess by a rule of thumb.
    """
    store = Store(folder)
    records = {job.key: record for job in jobs if (record := store.load(job))}
    return [_estimate(job, jobs, records) for job in jobs]


def _estimate(job: Job, jobs: Sequence[Job], records: dict[str, dict]) -> Cost:
    if own := records.get(job.key):
        return Cost(_seconds(own), own["peak_cpu_bytes"], own["peak_gpu_bytes"], "finished")
    alike = [records[other.key] for other in jobs if other.key in records and _kind(other) == _kind(job)]
    if alike:
        seconds = sum(map(_seconds, alike)) / len(alike)
        return Cost(
            seconds, _most(alike, "peak_cpu_bytes"), _most(alike, "peak_gpu_bytes"), f"similar jobs done: {len(alike)}"
        )
    rule = RULES.get(job.class_path)
    if rule and job.data_class_path == _RULES_ARE_FOR:
        seconds = START_SECONDS + _steps(job, rule) * rule.step + _TEST_SAMPLES * rule.sample
        return Cost(seconds, rule.memory, None, "guess: default size, 2 CPU cores")
    return Cost(None, None, None, "unknown until a similar job is finished")


def _steps(job: Job, rule: Rule) -> int:
    """Number of training steps, in steps of one sample."""
    if rule.steps is None and "max_steps" not in job.trainer:
        return job.k_shot
    return job.trainer.get("max_steps", rule.steps) * job.data_init_args.get("train_batch_size", USUAL_BATCH)


def _kind(job: Job) -> tuple[str, int]:
    return job.name, job.k_shot


def _seconds(record: dict) -> float:
    return START_SECONDS + (record["fit_seconds"] or 0) + record["test_seconds"]


def _most(records: Sequence[dict], name: str) -> float | None:
    return max((record[name] for record in records if record[name] is not None), default=None)
