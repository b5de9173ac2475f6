# SPDX-License-Identifier: Apache-2.0
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from anomalib_clip3dad.benchmark.grid import Job

from .conftest import BROKEN

pytestmark = pytest.mark.slow
COMMAND = [sys.executable, "-m", "anomalib_clip3dad.benchmark.worker"]


def test_job_ends_with_its_parent(tmp_path: Path) -> None:
    command = [*COMMAND, "none", "none", "0"]
    reading, writing = os.pipe()
    with subprocess.Popen(command, stdin=reading, cwd=tmp_path, stderr=subprocess.PIPE) as job:  # noqa: S603
        os.close(reading)
        os.close(writing)
        _, said = job.communicate(timeout=60)
    # without a word: it did not come to see that there is no such job
    assert (job.returncode, said) == (1, b"")


def test_the_reason_of_a_failure_is_its_result(jobs_of: Callable[..., list[Job]], tmp_path: Path) -> None:
    (job,) = jobs_of(models=[BROKEN])
    (tmp_path / "job.json").write_text(json.dumps(job._asdict()))
    with subprocess.Popen([*COMMAND, "job.json", "result.json", "1"], stdin=subprocess.PIPE, cwd=tmp_path) as process:  # noqa: S603
        assert process.wait(timeout=120) == 0
    reason = json.loads((tmp_path / "result.json").read_text())
    assert reason.startswith("backbone_weights='nowhere.safetensors': no such file")
