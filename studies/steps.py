# SPDX-License-Identifier: Apache-2.0
"""Number of steps, batch size and learning rates: the curves behind the defaults.

The frozen features of the test samples are computed once per run, so that a point of a curve costs only the trained
modules.

python studies/steps.py --out results/steps.json --picture docs/steps.png
"""

import argparse
import json
import logging
import math
import statistics
import tempfile
import warnings
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import matplotlib as mpl
import torch
from anomalib.data import ImageBatch
from anomalib.engine import Engine
from lightning.pytorch import Callback, seed_everything
from matplotlib import pyplot as plt
from shot_runs import VARIANTS, callbacks, make_model
from tqdm import tqdm
from zero_shot import Result, auroc, pixel_metrics

from anomalib_clip3dad.callbacks import prepare_cloud
from anomalib_clip3dad.data import Toy3D
from anomalib_clip3dad.geometry import find_part, paste_map
from anomalib_clip3dad.models.clip3d_ad.features import FrozenFeatures
from anomalib_clip3dad.models.frozen_cache import join
from anomalib_clip3dad.toy import CATEGORIES

METRICS = ("image_AUROC", "pixel_AUROC", "pixel_AUPRO")
SETTING = ("batch_size", "factor", "schedule")


class Curve(Callback):
    """Evaluates the model during training, and sets its learning rates by the schedule.

    Args:
        marks: Numbers of steps after which to evaluate.
        factor: Factor of all learning rates.
        schedule: "constant", or "cosine" with decay to zero at the last mark.
    """

    def __init__(self, marks: list[int], factor: float, schedule: str) -> None:
        self.marks, self.factor, self.schedule = marks, factor, schedule
        self.points: list[Result] = []
        self.rates: list[float] = []

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Compute the features of the test samples, and evaluate the untrained model."""
        self.labels, self.masks, self.shown, self.foregrounds, parts = [], [], [], [], []
        for loaded in trainer.datamodule.test_dataloader():
            batch = pl_module.transfer_batch_to_device(loaded, pl_module.device, 0)
            pl_module.pre_processor.on_test_batch_start(trainer, pl_module, batch, 0)
            foreground = prepare_cloud(batch)
            cut = pl_module.cut(batch.image, batch.depth_map, foreground)
            parts.append(pl_module.read(cut))
            self.shown.append(cut.foreground)
            self.foregrounds.append(foreground)
            self.labels.append(batch.gt_label.cpu())
            self.masks.append(batch.gt_mask.cpu())
        self.features: FrozenFeatures = join(parts)
        self.measure(pl_module, 0)

    def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
        """Set this step's learning rates."""
        groups = trainer.optimizers[0].param_groups
        self.rates = self.rates or [group["lr"] for group in groups]
        done = trainer.global_step / self.marks[-1]
        share = 0.5 + 0.5 * math.cos(math.pi * done) if self.schedule == "cosine" else 1.0
        for group, rate in zip(groups, self.rates, strict=True):
            group["lr"] = rate * self.factor * share

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        """Evaluate at a mark."""
        if trainer.global_step in self.marks:
            self.measure(pl_module, trainer.global_step)

    @torch.no_grad()
    def measure(self, model: Any, step: int) -> None:
        """Add a point to the curve."""
        model.eval()
        found: Any = model.model.compare(self.features, torch.cat(self.shown))
        model.train()
        anomalous, masks = torch.cat(self.labels).bool(), torch.cat(self.masks)
        anomaly_map = found.anomaly_map
        if model.crop_to_part:
            size = (masks.shape[-2], masks.shape[-1])
            anomaly_map = paste_map(anomaly_map, find_part(torch.cat(self.foregrounds)), size)
        batch = ImageBatch(image=torch.zeros(len(masks), 3, 1, 1), anomaly_map=anomaly_map.cpu(), gt_mask=masks)
        scores = found.pred_score.cpu()
        image = auroc(scores[~anomalous], scores[anomalous])
        self.points.append({"step": step, "image_AUROC": image} | pixel_metrics(batch))


def run(names: tuple[Any, ...], arguments: argparse.Namespace, **toy: Any) -> Iterator[Result]:
    """Train once and yield the points of the curve; `toy` holds further arguments of `Toy3D`."""
    batch_size, factor, schedule, category, seed = names
    seed_everything(seed, verbose=False)
    data = Toy3D(
        root=arguments.root,
        category=category,
        k_shot=arguments.k_shot,
        shot_seed=seed,
        train_batch_size=batch_size,
        val_split_mode="none",
        **toy,
    )
    data.prepare_data()
    data.setup()
    model = make_model(arguments.pretrained, arguments.variant, arguments, class_name=category)
    curve = Curve(arguments.marks, factor, schedule)
    with tempfile.TemporaryDirectory() as folder:
        quiet = {"logger": False, "enable_model_summary": False, "enable_progress_bar": False}
        engine = Engine(
            default_root_dir=folder,
            max_steps=arguments.marks[-1],
            callbacks=[curve, *callbacks(arguments.variant)],
            **quiet,
        )
        engine.fit(model, datamodule=data)
    known = dict(zip((*SETTING, "category", "seed"), names, strict=True))
    yield from ({**known, **point} for point in curve.points)


def settings(arguments: argparse.Namespace) -> list[tuple[int, float, str]]:
    """The base setting, and those that differ from it in one value."""
    base = (arguments.batch_sizes[0], arguments.factors[0], arguments.schedules[0])
    others = [
        *((batch, *base[1:]) for batch in arguments.batch_sizes[1:]),
        *((base[0], factor, base[2]) for factor in arguments.factors[1:]),
        *((*base[:2], schedule) for schedule in arguments.schedules[1:]),
    ]
    return [base, *others]


def averages(points: list[Result], metric: str) -> tuple[list[int], list[float], list[float]]:
    """Steps, and mean and standard deviation over the seeds, each a mean over the categories."""
    steps = sorted({point["step"] for point in points})
    seeds = sorted({point["seed"] for point in points})
    by_seed = [
        [statistics.mean(p[metric] for p in points if p["step"] == step and p["seed"] == seed) for seed in seeds]
        for step in steps
    ]
    return (
        steps,
        [statistics.mean(row) for row in by_seed],
        [statistics.stdev(row) if len(seeds) > 1 else 0.0 for row in by_seed],
    )


def draw(points: list[Result], file: Path) -> None:
    """Draw a panel for each metric, with a line for each setting."""
    mpl.use("Agg")
    figure, axes = plt.subplots(1, len(METRICS), figsize=(12, 3.6), layout="constrained")
    for axis, metric in zip(axes, METRICS, strict=True):
        for setting in dict.fromkeys(tuple(point[name] for name in SETTING) for point in points):
            alike = [point for point in points if tuple(point[name] for name in SETTING) == setting]
            steps, mean, deviation = averages(alike, metric)
            label = f"batch {setting[0]}, rates x {setting[1]:g}, {setting[2]}"
            axis.errorbar(steps, mean, deviation, marker="o", markersize=3, capsize=2, label=label)
        axis.set(xscale="symlog", xlabel="optimiser steps", title=metric.replace("_", " "))
    axes[0].legend(fontsize="x-small")
    figure.savefig(file, dpi=110)
    plt.close(figure)


def main() -> None:
    """Run all settings; save and draw the results after each run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--clip_model", default="ViT-Ti-Lite0-16-240")
    add("--pretrained", default="small")
    add("--layers", type=int, nargs="+", help="blocks of the vision tower; default: the model's")
    add("--variant", choices=VARIANTS, default="tuned")
    add("--categories", nargs="+", choices=CATEGORIES, default=["gear", "knob", "waffle"], metavar="CATEGORY")
    add("--seeds", type=int, nargs="+", default=[0, 1, 2])
    add("--k_shot", type=int, default=4)
    add("--marks", type=int, nargs="+", default=[12, 25, 50, 100, 200])
    add("--batch_sizes", type=int, nargs="+", default=[2, 1, 4], help="batch sizes in pairs; the first is the base")
    add("--factors", type=float, nargs="+", default=[1.0], help="factors of the learning rates; the first is the base")
    add("--schedules", nargs="+", choices=("constant", "cosine"), default=["constant", "cosine"], metavar="SCHEDULE")
    add("--root", default="datasets/Toy3D", help="created if missing")
    add("--out", type=Path, default=Path("results/steps.json"))
    add("--picture", type=Path, default=Path("results/steps.png"))
    arguments = parser.parse_args()
    arguments.marks.sort()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)  # Lightning resets the level of its loggers
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    points: list[Result] = []
    asked = [
        (*setting, *which)
        for setting in settings(arguments)
        for which in product(arguments.categories, arguments.seeds)
    ]
    for names in tqdm(asked, desc="runs"):
        points += run(names, arguments)
        arguments.out.write_text(json.dumps(points, indent=1) + "\n", encoding="utf-8")
        draw(points, arguments.picture)
    print(f"{arguments.picture.absolute()}\n{arguments.out.absolute()}")


if __name__ == "__main__":
    main()
