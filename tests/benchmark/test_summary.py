# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pandas as pd
import pytest

from anomalib_clip3dad.benchmark import METRICS
from anomalib_clip3dad.benchmark.summary import costs, results, summary

from .finished import CLIP3D, finish, grid


def pick(numbers: pd.DataFrame, category: str, metric: str = "image_AUROC", model: str = "CLIP3D-AD") -> pd.Series:
    rows = numbers[(numbers.category == category) & (numbers.metric == metric) & (numbers.model == model)]
    assert len(rows) == 1
    return rows.iloc[0]


def test_mean_and_deviation_beside_the_published_number(tmp_path: Path) -> None:
    jobs = grid()
    for job in jobs:
        finish(job, tmp_path, 0.7 if job.seed else 0.8)
    numbers = summary(jobs, results(jobs, tmp_path))
    bagel = pick(numbers, "bagel")
    assert (bagel["mean"], bagel["std"], bagel.published) == pytest.approx((75, 50**0.5, 91.1))
    assert bagel.difference == pytest.approx(75 - 91.1)
    assert pick(numbers, "mean", "pixel_AUPRO").published == 89.3
    assert pd.isna(pick(numbers, "bagel", "image_AUPR").published)  # the paper has the mean only
    assert pd.isna(pick(numbers, "bagel", model="other (random weights)").published)


def test_mean_is_of_seeds_with_all_categories(tmp_path: Path) -> None:
    jobs = grid(("bagel", "tire"), models=[CLIP3D])
    for job in jobs[:-1]:
        finish(job, tmp_path, 0.6 if job.category == "bagel" else 0.8)
    numbers = summary(jobs, results(jobs, tmp_path))
    assert (pick(numbers, "bagel").seeds, pick(numbers, "tire").seeds, pick(numbers, "mean").seeds) == (2, 1, 1)
    assert pick(numbers, "mean")["mean"] == pytest.approx(70)
    assert pd.isna(pick(numbers, "mean").published)  # that of ten categories


def test_costs_are_means_and_the_largest_memory(tmp_path: Path) -> None:
    jobs = grid(("bagel",), models=[CLIP3D], k_shot=[1, 2])
    for job in jobs:
        finish(job, tmp_path, 0.5, fit_seconds=10 * job.k_shot + job.seed, peak_cpu_bytes=7 - job.seed)
    found = costs(results(jobs, tmp_path)).set_index("k_shot")
    assert found.fit_seconds.to_dict() == {1: 10.5, 2: 20.5}
    assert found.peak_cpu_bytes.to_dict() == {1: 7, 2: 7}


def test_training_categories_count_like_seeds_and_are_not_tested_themselves(tmp_path: Path) -> None:
    """The value of a category is 10 times its place, and 3 more if "a" was trained on, 4 if "b"."""
    places = {"a": 1, "b": 2, "c": 3}
    jobs = grid(tuple(places), models=[CLIP3D], training_categories=["b", "a"], k_shot=[0], seeds=[0])
    for job in jobs:
        more = {"a": 3, "b": 4}[job.category]
        by_category = {name: dict.fromkeys(METRICS, (10 * places[name] + more) / 100) for name in job.tested}
        finish(job, tmp_path, 0.0, by_category=by_category)
    found = results(jobs, tmp_path)
    assert found[["trained_on", "category"]].to_numpy().tolist() == [["b", "a"], ["b", "c"], ["a", "b"], ["a", "c"]]
    numbers = summary(jobs, found)
    assert list(dict.fromkeys(numbers.category)) == ["a", "b", "c", "mean"]
    assert [pick(numbers, name)["mean"] for name in "abc"] == pytest.approx([14, 23, 33.5])
    assert (pick(numbers, "a").seeds, pick(numbers, "c").seeds) == (1, 2)
    mean = pick(numbers, "mean")  # of b: (14 + 34) / 2, of a: (23 + 33) / 2
    assert (mean["mean"], mean["std"], mean.seeds) == pytest.approx((26, 8**0.5, 2))
