# SPDX-License-Identifier: Apache-2.0
"""Models side by side, on the same shots, judged alike, beside the paper's numbers."""

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
    runner: Literal["local", "ray"] = "local",
    name: str = "grid",
    output: Path = Path("results/benchmark"),
    dry_run: bool = False,
    cpus_per_job: int | None = None,
    gpus_per_job: float = 0,
    address: str | None = None,
) -> list[str]:
    """Run a grid of models, categories, shots and seeds, and write tables; what is finished is not run again.

    Args:
        data: class_path and init_args of the data module.
        models: each with name, class_path, init_args, and if wanted trainer, data and published.
        categories: of the data set.
        k_shot: numbers of good parts to learn from.
        seeds: of the shots and of training; the tables have mean and deviation over them.
        trainer: arguments of anomalib's Engine for all models.
        evaluation_size: height and width at which pixels are judged, or native.
        model: what all models have in common; the settings of each go over it.
        only: name of the models to run, or a pattern such as layers*, or a list of them; default: all.
        runner: one job after the other on this machine, or Ray.
        name: of the grid, and of the folder of its tables.
        output: folder for the tables, in NAME, and for the finished jobs, in jobs, which its grids share.
        dry_run: say what would be run and what it may take, and stop.
        cpus_per_job: threads of a job; default: with Ray 1, else as many as torch takes.
        gpus_per_job: of a job, or a part of one; with Ray only.
        address: of a running Ray cluster, auto or ray://HOST:PORT; default: one of its own on this machine.
    """
    only = [only] if isinstance(only, str) else only
    jobs = make_jobs(
        data, categories or [], k_shot or [], seeds or [], models or [], trainer, evaluation_size, model, only
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
        console.print(f"Interrupted. Finished jobs are kept in {finished}; the same command goes on from there.")
        return ["interrupted"]
    console.print(Markdown(write_report(jobs, finished, failures, output / name)))
    console.print(f"{(output / name).absolute()}: report.md, report.png, summary.csv, results.csv", soft_wrap=True)
    return list(failures.values())


def _say(console: Console, jobs: list[Job], costs: list[Cost]) -> None:
    """Print the jobs and what they may take."""
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
    said += f", {unknown} of which nobody has timed" if unknown else ""
    console.print(said + (f"; largest memory {_gib(largest)}" if largest else ""), soft_wrap=True)


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d} h"


def _gib(memory: float | None) -> str:
    return f"{memory / 2**30:.1f} GiB" if memory else "?"
