# SPDX-License-Identifier: Apache-2.0
"""Metrics of Clip3dAdPlus for each kind of evidence: alone, in pairs, and all together.

python studies/evidence.py --k_shot 1 4 --seeds 0 1 2 --out results/evidence.json
python studies/evidence.py --root MVTEC_3D_AD --categories cable_gland --k_shot 1 2 4
"""

import argparse
import json
import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from itertools import combinations, product
from pathlib import Path
from typing import Any

import torch
from anomalib.data import ImageBatch
from anomalib.engine import Engine
from lightning.pytorch import seed_everything
from rich.console import Console
from rich.table import Table
from shot_runs import over_seeds
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm
from zero_shot import Result, image_aurocs, parts_of, pixel_metrics

from anomalib_clip3dad.data import EVIDENCE_KINDS, MVTec3DXYZ
from anomalib_clip3dad.geometry import PartBox, paste_map
from anomalib_clip3dad.models import Clip3dAdPlus
from anomalib_clip3dad.models.clip3d_ad_plus import Evidence
from anomalib_clip3dad.models.part_cut import cut_part
from anomalib_clip3dad.toy import CATEGORIES


def sets_of_kinds() -> Iterator[tuple[str, ...]]:
    """Each kind, all pairs, all."""
    for size in (1, 2, len(EVIDENCE_KINDS)):
        yield from combinations(EVIDENCE_KINDS, size)


def trained(data: MVTec3DXYZ, settings: dict[str, Any]) -> Clip3dAdPlus:
    """Fit a new model to the shots of a category."""
    seed_everything(data.shot_seed, verbose=False)
    model = Clip3dAdPlus(post_processor=False, visualizer=False, **settings)
    with tempfile.TemporaryDirectory() as folder:
        engine = Engine(default_root_dir=folder, logger=False, enable_model_summary=False, enable_progress_bar=False)
        engine.fit(model, datamodule=data)
    return model.eval()


@torch.inference_mode()
def measure(model: Clip3dAdPlus, data: MVTec3DXYZ) -> Iterator[Result]:
    """Evaluate all test samples with every set of kinds.

    Args:
        model: Fitted model.
        data: Data module of the category.

    Yields:
        `kinds`, `image_AUROC`, one AUROC for each kind of defect, and the pixel metrics.
    """
    read, boxes, masks = [], [], []
    for item in tqdm(data.test_data, desc=f"{data.category}, {data.k_shot} shots", unit="sample", leave=False):
        image, xyz, foreground = model.prepare(item.image[None], item.depth_map[None])
        cut = cut_part(image, xyz, foreground, model.model.size)
        read.append(model.model.compare(model.read(cut)))
        assert cut.box is not None  # noqa: S101
        boxes.append(cut.box)
        mask = item.gt_mask.reshape(1, 1, *item.gt_mask.shape[-2:]).float()
        masks.append(functional.interpolate(mask, image.shape[-2:])[:, 0] > 0)
    evidence = Evidence(*(torch.cat(field) for field in zip(*read, strict=True)))
    box, mask = PartBox(*(torch.cat(side) for side in zip(*boxes, strict=True))), torch.cat(masks)
    labels = list(data.test_data.samples.label)
    for kinds in sets_of_kinds():
        score, anomaly_map = by_kinds(model, evidence, kinds)
        large = functional.interpolate(anomaly_map[:, None], model.model.size, mode="bilinear")[:, 0]
        pasted = paste_map(large, box, (mask.shape[-2], mask.shape[-1]))
        batch = ImageBatch(image=torch.zeros(len(mask), 3, 1, 1), anomaly_map=pasted, gt_mask=mask)
        yield {"kinds": " + ".join(kinds)} | image_aurocs(score, labels) | pixel_metrics(batch)


def by_kinds(model: Clip3dAdPlus, evidence: Evidence, kinds: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Scores and maps of a model that uses only these kinds of evidence; the others count as zero."""
    scale = model.model.scale
    shown = torch.tensor([kind in kinds for kind in EVIDENCE_KINDS])
    found = scale(evidence)
    pieces = scale.pieces(evidence)
    counts = torch.cat([shown, torch.full((evidence.words.shape[1],), "words" in kinds)])
    anomaly_map = (found.shares * shown[:, None, None]).sum(dim=1)
    return (pieces * counts).sum(dim=1), anomaly_map / (1 + anomaly_map)


def runs(arguments: argparse.Namespace) -> Iterator[Result]:
    """Run every category, number of shots and seed."""
    settings = json.loads(arguments.settings)
    asked = list(product(arguments.categories, arguments.k_shot, arguments.seeds))
    for category, k_shot, seed in tqdm(asked, desc="runs"):
        shots = {"k_shot": k_shot, "shot_seed": seed, "train_batch_size": 2, "val_split_mode": "none"}
        data = parts_of(category, arguments.root, **shots)
        model = trained(data, settings)
        for result in measure(model, data):
            yield {"category": category, "k_shot": k_shot, "seed": seed} | result


def tables(done: list[Result]) -> Iterator[Table]:
    """Mean and standard deviation over the seeds, of means over the categories; with all evidence, also by category."""
    metrics = [name for name in done[0] if name not in {"category", "k_shot", "seed", "kinds"}]
    everything = " + ".join(EVIDENCE_KINDS)
    for k_shot in dict.fromkeys(row["k_shot"] for row in done):
        table = Table("", *metrics, title=f"{k_shot} shots")
        alike = [row for row in done if row["k_shot"] == k_shot]
        for kinds in dict.fromkeys(row["kinds"] for row in alike):
            table.add_row(kinds, *cells([row for row in alike if row["kinds"] == kinds], metrics))
        for category in dict.fromkeys(row["category"] for row in alike):
            chosen = [row for row in alike if (row["category"], row["kinds"]) == (category, everything)]
            table.add_row(category, *cells(chosen, metrics))
        yield table


def cells(rows: list[Result], metrics: Sequence[str]) -> Iterator[str]:
    """Mean and, for several seeds, standard deviation."""
    for name in metrics:
        value = over_seeds(rows, name)
        yield f"{value['mean']:.3f}" + ("" if value["deviation"] is None else f" ±{value['deviation']:.3f}")


def main() -> None:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--root", default="datasets/Toy3D", help="created if missing")
    add("--categories", nargs="+", default=list(CATEGORIES), help="of Toy3D, or folders of --root (MVTec 3D-AD layout)")
    add("--k_shot", type=int, nargs="+", default=[1, 4])
    add("--seeds", type=int, nargs="+", default=[0, 1, 2], help="seeds of the shots; the test parts stay the same")
    add("--settings", default="{}", help="arguments of Clip3dAdPlus, as JSON")
    add("--out", type=Path, default=Path("results/evidence.json"))
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    done = []
    for result in runs(arguments):
        done.append(result)
        arguments.out.write_text(json.dumps(done, indent=1) + "\n", encoding="utf-8")
    console = Console(width=200)
    for table in tables(done):
        console.print(table)
    print(f"All numbers: {arguments.out.absolute()}")


if __name__ == "__main__":
    main()
