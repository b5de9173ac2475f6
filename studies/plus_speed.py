# SPDX-License-Identifier: Apache-2.0
"""Seconds per sample of Clip3dAdPlus and Clip3dAd with the same small CLIP, in PyTorch and exported to OpenVINO.

python studies/plus_speed.py --threads 2
"""

import argparse
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from anomalib.engine import Engine
from shot_runs import OFFLINE, settings_of

from anomalib_clip3dad.data import Toy3D
from anomalib_clip3dad.geometry.fpfh import organised_fpfh
from anomalib_clip3dad.geometry.surface_histograms import surface_histograms
from anomalib_clip3dad.inference import RGBXYZInferencer
from anomalib_clip3dad.models import Clip3dAd, Clip3dAdPlus


def alternating_medians(calls: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median seconds of each call, all of them once in every round, after two rounds of warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(2 + repeats):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values[2:]) for name, values in seconds.items()}


def main() -> None:
    """Fit each model on four shots of a toy part, export it, and time one part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default="datasets/Toy3D", help="made if it is not there")
    parser.add_argument("--threads", type=int, default=2, help="of PyTorch")
    parser.add_argument("--repeats", type=int, default=20)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    warnings.filterwarnings("ignore")
    data = Toy3D(arguments.root, "gear", k_shot=4, train_batch_size=4)
    data.setup()
    item: Any = data.test_data[0]
    tuned = settings_of("clip3dad_tuned.yaml") | OFFLINE
    models: dict[str, Any] = {
        "Clip3dAd": Clip3dAd(visualizer=False, **tuned),
        "Clip3dAdPlus": Clip3dAdPlus(visualizer=False),
        "Clip3dAdPlus, no views": Clip3dAdPlus(views=[], visualizer=False),
    }
    calls: dict[str, Callable[[], Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, model in models.items():
            limit: dict[str, Any] = {"max_steps": 1} if isinstance(model, Clip3dAd) else {}
            engine = Engine(default_root_dir=folder, logger=False, enable_progress_bar=False, **limit)
            engine.fit(model, datamodule=Toy3D(arguments.root, "gear", k_shot=4, train_batch_size=4))
            file = engine.export(model, "openvino", Path(folder) / name.replace(" ", "_"))
            assert file is not None  # noqa: S101
            exported = RGBXYZInferencer(file)
            calls[f"{name}, PyTorch"] = partial(model.predict, item.image, item.depth_map)
            calls[f"{name}, OpenVINO"] = partial(exported.predict, item.image, item.depth_map)
        _, xyz, foreground = models["Clip3dAdPlus"].prepare(item.image[None], item.depth_map[None])
        xyz, foreground = xyz[..., ::2, ::2], foreground[..., ::2, ::2]
        calls["surface_histograms, 240 px"] = partial(surface_histograms, xyz, foreground, (30, 30))
        calls["FPFH by a tree, 240 px"] = partial(organised_fpfh, xyz, foreground)
        found = alternating_medians(calls, arguments.repeats)
    for name, seconds in found.items():
        print(f"{name:36} {seconds:.3f} s, {1 / seconds:.1f} per second")
    for name, model in models.items():
        if isinstance(model, Clip3dAdPlus):
            sizes = {each: tuple(getattr(model.model, each).bank.shape) for each in ("colour", "geometry")}
            print(f"{name}: banks {sizes}")


if __name__ == "__main__":
    main()
