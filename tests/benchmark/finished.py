# SPDX-License-Identifier: Apache-2.0
"""Jobs that are finished without having been run."""

from pathlib import Path
from typing import Any

from anomalib_clip3dad.benchmark import METRICS
from anomalib_clip3dad.benchmark.grid import Job, make_jobs
from anomalib_clip3dad.benchmark.published import CATEGORIES
from anomalib_clip3dad.benchmark.store import Store

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


def finish(job: Job, folder: Path, value: float, **costs: Any) -> None:
    Store(folder).save(job, dict.fromkeys(METRICS, value) | COSTS | costs)
