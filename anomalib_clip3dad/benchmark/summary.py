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
        One row per finished job, in the order of the grid: `model`, `k_shot`, `category`, `seed`, and its record.
    """
    store = Store(folder)
    rows = []
    for job in jobs:
        if record := store.load(job):
            known = {"model": label(job), "k_shot": job.k_shot, "category": job.category, "seed": job.seed}
            rows.append(known | record | {"job": job.key})
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
        each seed that has all of them, so that its deviation is also over the seeds. `std` (n - 1) is missing for one
        seed; `published` and `difference` are missing if the paper has no such number. It has one for the mean only if
        the categories are the ten of MVTec 3D-AD.
    """
    categories = list(dict.fromkeys(job.category for job in jobs))
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
    values = 100 * alike.pivot(index="seed", columns="category", values=metric).reindex(columns=categories)
    return {**{name: values[name].dropna() for name in categories}, MEAN: values.dropna().mean(axis=1)}


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
