# SPDX-License-Identifier: Apache-2.0
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from anomalib_clip3dad.benchmark.grid import Job, make_jobs
from anomalib_clip3dad.benchmark.runner import on_this_machine, run_grid
from anomalib_clip3dad.benchmark.summary import results, summary
from anomalib_clip3dad.toy import write_toy3d

SIZES = {"size": (64, 80), "train": 3, "validation": 1, "good": 2, "defects": 1}
PATCHCORE = {
    "name": "PatchCore",
    "class_path": "anomalib_clip3dad.benchmark.baselines.Patchcore",
    "init_args": {"backbone": "resnet10t", "pre_trained": False, "image_size": 64},
}
BROKEN = {
    "name": "broken",
    "class_path": "anomalib_clip3dad.benchmark.baselines.Patchcore",
    "init_args": {"backbone": "resnet10t", "backbone_weights": "nowhere.safetensors"},
}


@pytest.fixture(scope="session")
def small_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two Toy3D categories, not square: 3 training and 6 test samples each."""
    root = tmp_path_factory.mktemp("toy")
    for category in ("gear", "ring"):
        write_toy3d(root, category, **SIZES, progress=False)
    return root


@pytest.fixture
def grid(small_root: Path) -> dict[str, Any]:
    """Arguments of `make_jobs`: one seed, one category, PatchCore."""
    return {
        "data": {"class_path": "anomalib_clip3dad.data.MVTec3DXYZ", "init_args": {"root": str(small_root)}},
        "categories": ["gear"],
        "k_shot": [1],
        "seeds": [0],
        "models": [PATCHCORE],
        "trainer": {"accelerator": "cpu"},
        "evaluation_size": 48,
    }


@pytest.fixture
def jobs_of(grid: dict[str, Any]) -> Callable[..., list[Job]]:
    """The grid with some things changed, spelt out."""
    return lambda **changes: make_jobs(**grid | changes)


@pytest.fixture(scope="session")
def two(small_root: Path) -> dict[str, Any]:
    """A grid of two jobs that run and one that cannot."""
    return {
        "data": {"class_path": "anomalib_clip3dad.data.MVTec3DXYZ", "init_args": {"root": str(small_root)}},
        "categories": ["gear", "ring"],
        "k_shot": [2],
        "seeds": [0],
        "models": [PATCHCORE],
        "trainer": {"accelerator": "cpu"},
        "evaluation_size": 48,
    }


@pytest.fixture(scope="session")
def undisturbed(two: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Job], Path]:
    jobs, folder = make_jobs(**two), tmp_path_factory.mktemp("undisturbed")
    assert run_grid(jobs, folder, partial(on_this_machine, folder=folder, cpus=1)) == {}
    return jobs, folder


def table(jobs: list[Job], folder: Path) -> pd.DataFrame:
    """What the tables are made of: times differ from run to run, the rest must not."""
    return summary(jobs, results(jobs, folder))
