# SPDX-License-Identifier: Apache-2.0
"""Finished jobs as tables of numbers: each model's mean and deviation over the seeds, beside what the paper prints."""

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
    """Put the finished jobs of a grid side by side.

    Args:
        jobs: of the grid.
        folder: of the finished jobs.

    Returns:
        A row for each finished job, in the grid's order: `model`, `k_shot`, `category`, `seed`, and its record.
    """
    store = Store(folder)
    rows = []
    for job in jobs:
        if record := store.load(job):
            known = {"model": label(job), "k_shot": job.k_shot, "category": job.category, "seed": job.seed}
            rows.append(known | record | {"job": job.key})
    return pd.DataFrame(rows)


def label(job: Job) -> str:
    """What a model is called in the tables; nobody should take random weights for results."""
    return f"{job.name} (random weights)" if job.is_random else job.name


def summary(jobs: Sequence[Job], found: pd.DataFrame) -> pd.DataFrame:
    """Mean and deviation over the seeds, and the published number and the difference from it.

    Args:
        jobs: of the grid.
        found: as `results` returns it.

    Returns:
        In per cent, a row for each model, k, metric and category, and "mean" for the mean of all categories, which is
        taken for each seed that has them all, so that its deviation is that over the seeds. `std` (n - 1) is missing
        for one seed; `published` and `difference` where the paper has no such number, which it has for the mean if the
        categories are those of MVTec 3D-AD, all ten.
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
    """Per cent of each category by seed, and their mean of the seeds that have them all."""
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
    """What a job of each model and k cost on average, memory at most.

    Args:
        found: as `results` returns it.
    """
    most = {"peak_cpu_bytes", "peak_gpu_bytes", "checkpoint_bytes", "trained_parameters"}
    numbers = found.astype(dict.fromkeys(COSTS, float))
    return (
        numbers.groupby(["model", "k_shot"], sort=False)
        .agg({name: "max" if name in most else "mean" for name in COSTS})
        .reset_index()
    )
