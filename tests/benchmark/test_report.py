# SPDX-License-Identifier: Apache-2.0
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from anomalib_clip3dad.benchmark import METRICS
from anomalib_clip3dad.benchmark.estimate import RULES, START_SECONDS, estimate
from anomalib_clip3dad.benchmark.grid import Job, make_jobs
from anomalib_clip3dad.benchmark.published import CATEGORIES
from anomalib_clip3dad.benchmark.report import write_report
from anomalib_clip3dad.benchmark.store import Store
from anomalib_clip3dad.benchmark.summary import results, summary
from anomalib_clip3dad.command.benchmark import benchmark

CLIP3D = {"name": "CLIP3D-AD", "published": "clip3d_ad/Ours", "class_path": "anomalib_clip3dad.models.Clip3dAd"}
OTHER = {"name": "other", "class_path": "a.B", "init_args": {"pretrained": None}}
COSTS = {
    "fit_seconds": 10.0,
    "test_seconds": 5.0,
    "test_samples": 4,
    "samples_per_second": 2.0,
    "peak_cpu_bytes": 2**30,
    "peak_gpu_bytes": None,
    "trained_parameters": 7,
    "checkpoint_bytes": 2**20,
    "device": "CPU",
}


def grid(categories: tuple[str, ...] = CATEGORIES, **changes: Any) -> list[Job]:
    usual: dict[str, Any] = {
        "data": {"class_path": "anomalib_clip3dad.data.MVTec3DXYZ"},
        "k_shot": [1],
        "seeds": [0, 1],
        "models": [CLIP3D, OTHER],
    }
    return make_jobs(**usual | {"categories": list(categories)} | changes)


def finish(job: Job, folder: Path, value: float, **costs: float) -> None:
    Store(folder).save(job, dict.fromkeys(METRICS, value) | COSTS | costs)


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


def test_report(tmp_path: Path) -> None:
    jobs = grid(("bagel", "tire"))
    for job in jobs[:-1]:
        finish(job, tmp_path / "jobs", 0.75)
    text = write_report(jobs, tmp_path / "jobs", {jobs[-1].key: "it broke"}, tmp_path)
    lines = text.splitlines()
    assert "| k-shot | method | bagel | tire | mean |" in lines
    assert "| 1 | CLIP3D-AD | 75.0±0.0 | 75.0±0.0 | 75.0±0.0 |" in lines
    assert "| 1 | published | 91.1 | 57.4 | - |" in lines
    assert "| 1 | difference | -16.1 | +17.6 | - |" in lines
    assert "| 1 | CLIP3D-AD | 10.0 | 5.0 | 2.00 | 1024 | - | 7 | 1.0 |" in lines
    assert "- other, tire, 1-shot, seed 1: it broke" in lines
    assert "these scores mean nothing" in text
    assert "Textures" not in text  # nobody said where from
    assert (tmp_path / "report.md").read_text() == text
    assert len(pd.read_csv(tmp_path / "results.csv")) == 7
    assert len(pd.read_csv(tmp_path / "summary.csv")) == 2 * 4 * 3
    assert (tmp_path / "report.png").stat().st_size > 1000


def test_report_says_where_textures_come_from(tmp_path: Path) -> None:
    models = [CLIP3D | {"name": f"{source}", "init_args": {"texture_dir": source}} for source in (None, "dtd/images")]
    text = write_report(grid(("bagel",), seeds=[0], models=models), tmp_path, {}, tmp_path)
    assert "Textures of the synthetic anomalies: the shots' own and noise, the images of dtd/images." in text


def test_report_of_nothing(tmp_path: Path) -> None:
    text = write_report(grid(("bagel",)), tmp_path, {}, tmp_path)
    assert text.count(": not run yet") == 4
    assert not (tmp_path / "report.png").exists()


def test_estimate(tmp_path: Path) -> None:
    jobs = grid(("bagel", "tire"), seeds=[0], trainer={"max_steps": 10}, k_shot=[1, 2])
    finish(jobs[0], tmp_path, 0.5)
    costs = estimate(jobs, tmp_path)
    by_name = {str(job): cost for job, cost in zip(jobs, costs, strict=True)}
    assert by_name["CLIP3D-AD, bagel, 1-shot, seed 0"].basis == "finished"
    alike = by_name["CLIP3D-AD, tire, 1-shot, seed 0"]
    assert (alike.seconds, alike.memory, alike.basis) == (START_SECONDS + 15, 2**30, "similar jobs done: 1")
    guess = by_name["CLIP3D-AD, bagel, 2-shot, seed 0"]
    assert guess.basis.startswith("guess")
    rule = RULES[CLIP3D["class_path"]]
    assert guess.seconds == START_SECONDS + 10 * 4 * rule.step + 120 * rule.sample
    assert by_name["other, tire, 2-shot, seed 0"].seconds is None
    (elsewhere,) = estimate(grid(("gear",), seeds=[0], models=[CLIP3D], data={"class_path": "Toy3D"}), tmp_path)
    assert elsewhere.seconds is None
    (by_itself,) = estimate(grid(("bagel",), seeds=[3], models=[CLIP3D]), tmp_path / "none")
    assert by_itself.seconds == START_SECONDS + 200 * 4 * rule.step + 120 * rule.sample


def test_guesses_are_of_classes_that_there_are() -> None:
    for class_path in RULES:
        module, _, name = class_path.rpartition(".")
        assert hasattr(import_module(module), name)


def test_dry_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    faults = benchmark(
        data={"class_path": "anomalib_clip3dad.data.MVTec3DXYZ"},
        models=[CLIP3D, OTHER],
        categories=["bagel"],
        k_shot=[1],
        seeds=[0],
        output=tmp_path,
        dry_run=True,
    )
    said = " ".join(capsys.readouterr().out.split())
    assert faults == []
    assert "2 of 2 jobs to run, one after the other about" in said
    assert ", 1 of them not timed yet; largest memory 3.6 GiB" in said
    assert not list(tmp_path.iterdir())
