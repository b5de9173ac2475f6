# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from anomalib_clip3dad.command.benchmark import benchmark
from anomalib_clip3dad.errors import InputError
from tests.benchmark.finished import CLIP3D, OTHER, finish, grid

ONE = {
    "data": {"class_path": "anomalib_clip3dad.data.MVTec3DXYZ"},
    "models": [CLIP3D, OTHER],
    "categories": ["bagel"],
    "k_shot": [1],
    "seeds": [0],
}


def test_dry_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    faults = benchmark(**ONE, output=tmp_path, dry_run=True)
    said = " ".join(capsys.readouterr().out.split())
    assert faults == []
    assert "2 of 2 jobs to run, one after the other about" in said
    assert ", 1 of them not timed yet; largest memory 3.6 GiB" in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("given", [{"gpus_per_job": 0.5}, {"address": "auto"}])
def test_what_is_for_ray_alone(given: dict, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="gpus_per_job and address are for Ray; add --runner ray"):
        benchmark(**ONE, output=tmp_path, **given)


def test_a_finished_grid_is_tabled_and_nothing_is_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (job,) = grid(("bagel",), seeds=[0], models=[CLIP3D])
    finish(job, tmp_path / "jobs", 0.75)
    before = (tmp_path / "jobs" / f"{job.key}.json").read_bytes()
    assert benchmark(**ONE | {"models": [CLIP3D]}, output=tmp_path, only="CLIP3D*") == []
    said = " ".join(capsys.readouterr().out.split())
    assert "1 of 1 jobs finished" in said
    assert "grid: report.md, report.png, summary.csv, results.csv" in said
    assert said.endswith("grid/report.html")
    assert (tmp_path / "grid/report.html").is_file()
    assert (tmp_path / "jobs" / f"{job.key}.json").read_bytes() == before
