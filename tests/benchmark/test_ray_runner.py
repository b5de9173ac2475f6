# SPDX-License-Identifier: Apache-2.0
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from anomalib_clip3dad.benchmark.grid import Job
from anomalib_clip3dad.benchmark.ray_runner import on_ray
from anomalib_clip3dad.benchmark.runner import run_grid
from anomalib_clip3dad.errors import InputError

from .conftest import BROKEN, table

pytestmark = pytest.mark.slow


def test_ray_gives_the_same_table(undisturbed: tuple[list[Job], Path], jobs_of: Callable, tmp_path: Path) -> None:
    ray = pytest.importorskip("ray", reason="the extra `distributed` is not installed")
    jobs = undisturbed[0][:1]
    (bad,) = jobs_of(models=[BROKEN])
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        failures = run_grid([*jobs, bad], tmp_path, partial(on_ray, folder=tmp_path, cpus=1))
        with pytest.raises(InputError, match=r"--gpus_per_job 1: this machine has 0"):
            next(on_ray(jobs, tmp_path, gpus=1))
    finally:
        ray.shutdown()
    assert "Traceback" in (tmp_path / f"{bad.key}.log").read_text()
    assert list(failures) == [bad.key]
    assert failures[bad.key].startswith("backbone_weights='nowhere.safetensors': no such file")
    pd.testing.assert_frame_equal(table(jobs, tmp_path), table(jobs, undisturbed[1]))
