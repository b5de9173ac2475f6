# SPDX-License-Identifier: Apache-2.0
"""A threshold from normal parts alone, against the one from labelled test parts.

Trains on k normal parts, sets the threshold with the held-out normal parts and synthetic anomalies on them, and
measures on the test parts how many anomalous ones are found (recall) and how many normal ones are called anomalous
(false alarms).

python studies/threshold.py --out results/threshold.json
"""

import argparse
import json
import logging
import statistics
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from anomalib.engine import Engine
from anomalib.metrics.threshold.f1_adaptive_threshold import _F1AdaptiveThreshold
from lightning.pytorch import seed_everything
from rich.console import Console
from rich.table import Table
from shot_runs import RawScores
from torch import Tensor
from tqdm import tqdm
from zero_shot import Result

from anomalib_clip3dad.data import Folder3DXYZ, Toy3D
from anomalib_clip3dad.models import Clip3dAd
from anomalib_clip3dad.toy import CATEGORIES

RATES = ("recall", "false_alarms")


def rates(scores: Tensor, anomalous: Tensor, threshold: float) -> dict[str, float]:
    """Shares of anomalous and normal parts whose score reaches the threshold, counted as in anomalib's metric.

    Example:
        >>> scores, anomalous = torch.tensor([0.1, 0.2, 0.8, 0.9]), torch.tensor([False, False, True, True])
        >>> rates(scores, anomalous, best_threshold(scores, anomalous))
        {'recall': 1.0, 'false_alarms': 0.0}
        >>> rates(torch.tensor([0.1, 0.6, 0.4, 0.9]), torch.tensor([False, False, True, True]), 0.5)
        {'recall': 0.5, 'false_alarms': 0.5}
    """
    found = scores >= threshold
    return {
        "recall": found[anomalous].float().mean().item(),
        "false_alarms": found[~anomalous].float().mean().item(),
    }


def best_threshold(scores: Tensor, anomalous: Tensor) -> float:
    """The threshold of the best F1 (anomalib's metric), which needs labels."""
    metric = _F1AdaptiveThreshold()
    metric.update(scores, anomalous.int())
    return metric.compute().item()


def run(category: str, seed: int, arguments: argparse.Namespace) -> Result:
    """Train on normal parts alone, then evaluate the test parts with both thresholds."""
    seed_everything(seed, verbose=False)
    test = Toy3D(root=arguments.root, category=category, val_split_mode="none")
    test.prepare_data()
    good = test.folder / "train" / "good"
    data = Folder3DXYZ(good, k_shot=arguments.k_shot, shot_seed=seed, class_name=category, test_split_mode="none")
    data.train_batch_size = 2
    model = Clip3dAd("ViT-Ti-Lite0-16-240", arguments.pretrained, visualizer=False, evaluator=False)
    raw = RawScores()
    with tempfile.TemporaryDirectory() as folder:
        quiet = {"logger": False, "enable_model_summary": False, "enable_progress_bar": False}
        engine = Engine(default_root_dir=folder, max_steps=arguments.max_steps, callbacks=[raw], **quiet)
        engine.fit(model, datamodule=data)
        post_processor: Any = model.post_processor
        threshold = post_processor.image_threshold.item()
        engine.test(model, datamodule=test, verbose=False)
    scores, anomalous = torch.cat(raw.scores), torch.tensor([kind != "good" for kind in raw.kinds])
    best = best_threshold(scores, anomalous)
    return {
        "category": category,
        "seed": seed,
        "threshold": threshold,
        "by_labels": best,
        "synthetic": rates(scores, anomalous, threshold),
        "labelled": rates(scores, anomalous, best),
    }


def table(done: list[Result]) -> Table:
    """Rates of both thresholds for each category, and their mean."""
    shown = Table("", "threshold", "recall", "false alarms", "by labels", "recall", "false alarms")
    for category in (*dict.fromkeys(row["category"] for row in done), "mean"):
        rows = [row for row in done if category in {row["category"], "mean"}]
        cells = []
        for name, kind in (("threshold", "synthetic"), ("by_labels", "labelled")):
            cells.append(statistics.mean(row[name] for row in rows))
            cells += [statistics.mean(row[kind][rate] for row in rows) for rate in RATES]
        shown.add_row(category, *(f"{cell:.2f}" for cell in cells))
    return shown


def main() -> None:
    """Run all categories and seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--categories", nargs="+", choices=CATEGORIES, default=list(CATEGORIES), metavar="CATEGORY")
    add("--seeds", type=int, nargs="+", default=[0])
    add("--k_shot", type=int, default=4)
    add("--max_steps", type=int, default=40)
    add("--pretrained", default="small")
    add("--root", default="datasets/Toy3D", help="created if missing")
    add("--out", type=Path, default=Path("results/threshold.json"))
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    done: list[Result] = []
    asked = [(category, seed) for category in arguments.categories for seed in arguments.seeds]
    for category, seed in tqdm(asked, desc="runs"):
        done.append(run(category, seed, arguments))
        arguments.out.write_text(json.dumps(done, indent=1) + "\n", encoding="utf-8")
    Console().print(table(done))


if __name__ == "__main__":
    main()
