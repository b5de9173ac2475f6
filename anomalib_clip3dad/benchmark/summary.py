# SPDX-License-Identifier: Apache-2.0
"""Finished jobs as tables: mean and standard deviation over the seeds for each model, next to published numbers."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from anomalib_clip3dad.benchmark import METRICS
from anomalib_clip3dad.benchmark.grid import Job
from anomalib_clip3dad.benchmark.published import CATEGORIES, MEAN, published
from anomalib_clip3dad.benchmark.store import Store

COSTS = (
    "fit_seconds",
    "test_seconds",
    "samples_per_second",
    "peak_cpu_bytes",
    "peak_gpu_bytes",
    "trained_parameters",
    "checkpoint_bytes",
)


def results(jobs: Sequence[Job], folder: Path) -> pd.DataFrame:
    """Collect the finished jobs of a grid in a table.

    Args:
        jobs: Jobs of the grid.
        folder: Folder of the finished jobs.

    Returns:
        One row per finished job, in the order of the grid: `model`, `k_shot`, `trained_on`, `category`, `seed`, and its
        record; of a job that tests other categories than it trains on, one row for each. `trained_on` is "" otherwise.
    """
    store = Store(folder)
    rows = []
    for job in jobs:
        if record := store.load(job):
            known = {"model": label(job), "k_shot": job.k_shot, "trained_on": job.category * bool(job.tested)}
            by_category = record.pop("by_category", None) or {job.category: {}}
            for category, metrics in by_category.items():
                rows.append(known | {"category": category, "seed": job.seed} | record | metrics | {"job": job.key})
    return pd.DataFrame(rows)


def label(job: Job) -> str:
    """Name of a model in the tables, marked if its weights are random."""
    return f"{job.name} (random weights)" if job.is_random else job.name


def summary(jobs: Sequence[Job], found: pd.DataFrame) -> pd.DataFrame:
    """Compute mean and standard deviation over the seeds, and the difference from the published number.

    Args:
        jobs: Jobs of the grid.
        found: Result of `results`.

    Returns:
        In per cent, one row per model, k, metric and category, and "mean" for the mean of all categories, computed for
        each seed that has all of them, so that its deviation is also over the seeds. Training categories count like
        seeds, and the mean is of all others. `std` (n - 1) is missing for one
        seed; `published` and `difference` are missing if the paper has no such number. It has one for the mean only if
        the categories are the ten of MVTec 3D-AD.
    """
    categories = list(dict.fromkeys(name for job in jobs for name in job.tested or [job.category]))
    if any(job.tested for job in jobs):  # of which the first leaves out its own
        categories.sort()
    rows = []
    for model, k_shot, name in dict.fromkeys((label(job), job.k_shot, job.published) for job in jobs):
        alike = found[(found.model == model) & (found.k_shot == k_shot)] if len(found) else found
        for metric in METRICS:
            for category, values in _by_category(alike, metric, categories).items():
                comparable = category != MEAN or set(categories) == set(CATEGORIES)
                paper = published(name, k_shot, category, metric) if comparable else None
                known = {"model": model, "k_shot": k_shot, "metric": metric, "category": category}
                rows.append(known | _spread(values, paper))
    return pd.DataFrame(rows)


def _by_category(alike: pd.DataFrame, metric: str, categories: list[str]) -> dict[str, pd.Series]:
    """Per cent of each category by seed, and their mean for seeds that have all categories."""
    if not len(alike):
        return {name: pd.Series(dtype=float) for name in (*categories, MEAN)}
    runs = alike.pivot(index=["seed", "trained_on"], columns="category", values=metric)
    values = 100 * runs.reindex(columns=categories)
    wanted = [len({*categories} - {trained_on}) for _, trained_on in values.index]
    complete = values[values.notna().sum(axis=1) == wanted]
    return {**{name: values[name].dropna() for name in categories}, MEAN: complete.mean(axis=1)}


def _spread(values: pd.Series, paper: float | None) -> dict[str, float | int | None]:
    mean = float(values.mean()) if len(values) else None
    return {
        "seeds": len(values),
        "mean": mean,
        "std": float(values.std()) if len(values) > 1 else None,
        "published": paper,
        "difference": mean - paper if mean is not None and paper is not None else None,
    }


def costs(found: pd.DataFrame) -> pd.DataFrame:
    """Compute mean cost and peak memory of the jobs of each model and k.

    Args:
        found: Result of `results`.
    """
    most = {"peak_cpu_bytes", "peak_gpu_bytes", "checkpoint_bytes", "trained_parameters"}
    numbers = found.astype(dict.fromkeys(COSTS, float))
    return (
        numbers.groupby(["model", "k_shot"], sort=False)
        .agg({name: "max" if name in most else "mean" for name in COSTS})
        .reset_index()
    )
