# SPDX-License-Identifier: Apache-2.0
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from anomalib_clip3dad.benchmark import METRICS
from anomalib_clip3dad.benchmark.grid import Job
from anomalib_clip3dad.benchmark.runner import on_this_machine, run_grid
from anomalib_clip3dad.benchmark.summary import results
from anomalib_clip3dad.errors import InputError

from .conftest import BROKEN, PATCHCORE, table

pytestmark = pytest.mark.slow

CLIP3DAD = Path(sys.executable).parent / "clip3dad"


def run_until(command: Sequence[str | Path], file: Path, how: signal.Signals) -> str:
    """What a command says that is ended as soon as a file is there."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:  # noqa: S603
        while not file.is_file() and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(how)
        return process.communicate(timeout=60)[0]


def test_records(undisturbed: tuple[list[Job], Path]) -> None:
    found = results(*undisturbed)
    assert list(found.category) == ["gear", "ring"]
    assert found[list(METRICS)].stack().between(0, 1).all()
    assert set(found.test_samples) == {6}
    assert set(found.trained_parameters) == {0}
    assert (found[["fit_seconds", "test_seconds", "samples_per_second", "checkpoint_bytes"]] > 0).all(axis=None)
    assert found.peak_cpu_bytes.between(2e8, 4e9).all()
    assert all(len(shots.split()) == 2 for shots in found.shots)


def test_killed_and_started_again_gives_the_same_table(
    undisturbed: tuple[list[Job], Path], two: dict[str, Any], tmp_path: Path
) -> None:
    """By Ctrl-C in the first job, then for good after it."""
    config = tmp_path / "two.yaml"
    config.write_text(yaml.safe_dump(two))
    command = [CLIP3DAD, "benchmark", "--config", config, "--output", tmp_path, "--cpus_per_job", "1"]
    jobs, folder = undisturbed[0], tmp_path / "jobs"
    said = run_until(command, folder / f"{jobs[0].key}.log", signal.SIGINT)
    assert "Traceback" not in said
    assert "the same command continues from there" in " ".join(said.split())
    assert not list(folder.glob("*.json"))
    run_until(command, folder / f"{jobs[0].key}.json", signal.SIGKILL)
    assert len(list(folder.glob("*.json"))) == 1
    before = (folder / f"{jobs[0].key}.json").stat().st_mtime_ns
    ended = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    assert ended.returncode == 0, ended.stderr[-3000:]
    pd.testing.assert_frame_equal(table(jobs, folder), table(*undisturbed))
    assert (folder / f"{jobs[0].key}.json").stat().st_mtime_ns == before
    report = (tmp_path / "grid" / "report.md").read_text()
    assert "2 of 2 jobs finished" in report
    assert "PatchCore (random weights)" in report
    assert (tmp_path / "grid" / "report.png").stat().st_size > 1000


def test_broken_job_is_told_and_others_run(undisturbed: tuple[list[Job], Path], jobs_of: Callable) -> None:
    """The other one is finished, so that only the broken one costs time here."""
    bad, good = jobs_of(models=[BROKEN, PATCHCORE], k_shot=[2])
    folder = undisturbed[1]
    assert good.key in {job.key for job in undisturbed[0]}
    (failures,) = [run_grid([bad, good], folder, partial(on_this_machine, folder=folder, cpus=1))]
    assert list(failures) == [bad.key]
    assert failures[bad.key].startswith("backbone_weights='nowhere.safetensors': no such file")
    log = folder / f"{bad.key}.log"
    assert failures[bad.key].endswith(f"; see {log}")
    assert "Traceback" in log.read_text()
    assert len(results([bad, good], folder)) == 1


def test_crash_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, jobs_of: Callable) -> None:
    """As the system does it when memory runs out."""
    crash = tmp_path / "python"
    crash.write_text("#!/bin/sh\necho out of memory >&2\nkill -9 $$\n")
    crash.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(crash))
    jobs = jobs_of(seeds=[0, 1])
    failures = run_grid(jobs, tmp_path, partial(on_this_machine, folder=tmp_path))
    assert [line.partition("; see")[0] for line in failures.values()] == ["ended with status -9 (out of memory)"] * 2


def test_folder_that_cannot_be(jobs_of: Callable, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match=r"output: .*file.jobs cannot be created \(Not a directory\)"):
        run_grid(jobs_of(), tmp_path / "file" / "jobs", partial(on_this_machine, folder=tmp_path))
