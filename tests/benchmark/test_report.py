# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pandas as pd

from anomalib_clip3dad.benchmark.report import write_report

from .finished import CLIP3D, finish, grid


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
