# SPDX-License-Identifier: Apache-2.0
"""Benchmark of several models: same shots, same evaluation, next to the paper's numbers."""

from functools import partial
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.markdown import Markdown
from rich.table import Table

from anomalib_clip3dad.benchmark.estimate import Cost, estimate
from anomalib_clip3dad.benchmark.grid import EvaluationSize, Job, make_jobs
from anomalib_clip3dad.benchmark.ray_runner import on_ray
from anomalib_clip3dad.benchmark.report import write_report
from anomalib_clip3dad.benchmark.runner import on_this_machine, run_grid
from anomalib_clip3dad.errors import InputError


def benchmark(
    data: dict | None = None,
    models: list[dict] | None = None,
    categories: list[str] | None = None,
    k_shot: list[int] | None = None,
    seeds: list[int] | None = None,
    trainer: dict | None = None,
    evaluation_size: EvaluationSize = 240,
    model: dict | None = None,
    only: list[str] | str | None = None,
    training_categories: list[str] | None = None,
    runner: Literal["local", "ray"] = "local",
    name: str = "grid",
    output: Path = Path("results/benchmark"),
    dry_run: bool = False,
    cpus_per_job: int | None = None,
    gpus_per_job: float = 0,
    address: str | None = None,
) -> list[str]:
    """Run a grid of models, categories, shots and seeds, and write tables; finished jobs are not run again.

    Args:
        data: The class_path and init_args of the data module.
        models: Models, each with name, class_path, init_args, and optionally trainer, data and published.
        categories: Categories of the data set.
        k_shot: Numbers of normal parts to train on.
        seeds: Seeds of the shots and of training; the tables show mean and standard deviation over them.
        trainer: Arguments of anomalib's Engine for all models.
        evaluation_size: Height and width at which pixels are evaluated, or native.
        model: Settings common to all models; those of each model override them.
        only: Name of the models to run, or a pattern such as layers*, or a list of them; default: all.
        training_categories: Categories to train on with their anomalous samples, each to test all other categories.
        runner: local (one job after the other on this machine) or ray.
        name: Name of the grid and of the folder of its tables.
        output: Folder for the tables (in NAME) and the finished jobs (in jobs, shared by all its grids).
        dry_run: Only print what would be run and what it may cost.
        cpus_per_job: Threads of a job; default: 1 with Ray, otherwise torch's default.
        gpus_per_job: GPUs of a job, also fractions; only with Ray.
        address: Address of a running Ray cluster, auto or ray://HOST:PORT; default: a new one on this machine.
    """
    only = [only] if isinstance(only, str) else only
    jobs = make_jobs(
        data,
        categories or [],
        k_shot or [],
        seeds or [],
        models or [],
        trainer,
        evaluation_size,
        model,
        only,
        training_categories,
    )
    if runner == "local" and (gpus_per_job or address):
        msg = "gpus_per_job and address are for Ray; add --runner ray or leave them out"
        raise InputError(msg)
    console, finished = Console(), output / "jobs"
    if dry_run:
        _say(console, jobs, estimate(jobs, finished))
        return []
    if runner == "ray":
        run = partial(on_ray, folder=finished, address=address, cpus=cpus_per_job, gpus=gpus_per_job)
    else:
        run = partial(on_this_machine, folder=finished, cpus=cpus_per_job)
    try:
        failures = run_grid(jobs, finished, run)
    except KeyboardInterrupt:
        console.print(f"Interrupted. Finished jobs are kept in {finished}; the same command continues from there.")
        return ["interrupted"]
    console.print(Markdown(write_report(jobs, finished, failures, output / name)))
    console.print(f"{(output / name).absolute()}: report.md, report.png, summary.csv, results.csv", soft_wrap=True)
    console.print(f"All of it as a page: {(output / name / 'report.html').absolute()}", soft_wrap=True)
    return list(failures.values())


def _say(console: Console, jobs: list[Job], costs: list[Cost]) -> None:
    """Print the jobs and what they may cost."""
    table = Table("", "model", "category", "k", "seed", "time", "CPU", "GPU", "from", box=None, padding=(0, 1, 0, 0))
    for number, (job, cost) in enumerate(zip(jobs, costs, strict=True), start=1):
        known = (str(number), job.name, job.category, str(job.k_shot), str(job.seed))
        table.add_row(*known, _time(cost.seconds), _gib(cost.memory), _gib(cost.gpu_memory), cost.basis)
    console.print(table)
    ahead = [cost for cost in costs if cost.basis != "finished"]
    seconds = sum(cost.seconds or 0 for cost in ahead)
    unknown = sum(cost.seconds is None for cost in ahead)
    largest = max((cost.memory or 0 for cost in ahead), default=0)
    said = f"{len(ahead)} of {len(jobs)} jobs to run"
    said += f", one after the other about {_time(seconds)}" if seconds else ""
    said += f", {unknown} of them not timed yet" if unknown else ""
    console.print(said + (f"; largest memory {_gib(largest)}" if largest else ""), soft_wrap=True)


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d} h"


def _gib(memory: float | None) -> str:
    return f"{memory / 2**30:.1f} GiB" if memory else "?"
