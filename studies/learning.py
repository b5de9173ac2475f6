# SPDX-License-Identifier: Apache-2.0
"""What Clip3dAd learns from its shots, judged by held-out synthetic anomalies within the part.

The heads are trained on frozen features of synthetic pairs on the shots, computed once. Normal training parts that are
no shots, and synthetic anomalies on them, are what is judged: no test label is read.

python studies/learning.py --categories gear knob waffle --marks 0 50 200
python studies/learning.py --frozen image_adapter decoder global_fusion local_fusion text
"""

import argparse
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.pytorch import seed_everything
from rich.console import Console
from rich.table import Table
from shot_runs import CONFIGS, OFFLINE, over_seeds, settings_of
from torch import Tensor
from tqdm import tqdm
from zero_shot import Result, auroc, parts_of

from anomalib_clip3dad.geometry import crop_nearest, foreground_mask
from anomalib_clip3dad.models import Clip3dAd
from anomalib_clip3dad.models.clip3d_ad.features import FrozenFeatures
from anomalib_clip3dad.models.frozen_cache import join, rows_of
from anomalib_clip3dad.seeding import drawing_from
from anomalib_clip3dad.synthesis import TextureSource, synthesise
from anomalib_clip3dad.toy import CATEGORIES

PARTS = ("image_adapter", "decoder", "global_fusion", "local_fusion", "text")
_SIZE = (0.005, 0.05)  # of the judged anomalies, as share of the part: as real ones


class Pairs(NamedTuple):
    """Normal samples and synthetic anomalies on them, as the frozen tower reads them."""

    normal: FrozenFeatures  # of N samples
    anomalous: FrozenFeatures  # of N * each samples; those on one sample stand together
    mask: Tensor  # (N * each, S, S) bool
    normal_part: Tensor  # (N, S, S) bool
    part: Tensor  # (N * each, S, S) bool


@torch.no_grad()
def read_pairs(model: Clip3dAd, items: Sequence[Any], each: int, seed: int, size: tuple[float, float] | None) -> Pairs:
    """Put `each` anomalies on every item and read all of them."""
    synthesis, textures = model._synthesis, TextureSource(None)
    normal, anomalous, masks, normal_part, part = [], [], [], [], []
    for number, item in enumerate(tqdm(items, desc="reading", unit="part", leave=False)):
        image, xyz, foreground = model.prepare(item.image[None], item.depth_map[None])
        cut = model.cut(image, xyz, foreground)
        normal.append(model.read(cut))
        normal_part.append(cut.foreground)
        for anomaly in range(each):
            with drawing_from(seed, number, anomaly):
                sample = (image[0], xyz[0], foreground[0])
                made = synthesise(*sample, textures, synthesis.opacity, synthesis.geometry, size)
            cut = model.cut(made.image[None], made.xyz[None], foreground_mask(made.xyz[None]))
            mask = made.mask[None]
            if cut.box is not None:
                mask = crop_nearest(mask[:, None].to(torch.uint8), cut.box, model.model.map_size)[:, 0] > 0
            anomalous.append(model.read(cut))
            masks.append(mask)
            part.append(cut.foreground)
    return Pairs(join(normal), join(anomalous), torch.cat(masks), torch.cat(normal_part), torch.cat(part))


@torch.no_grad()
def judged(model: Clip3dAd, pairs: Pairs) -> Result:
    """Image AUROC, and pixel AUROC within the part, of held-out pairs."""
    core = model.model.eval()
    normal: Any = core.compare(pairs.normal, pairs.normal_part)
    found: Any = core.compare(pairs.anomalous, pairs.part)
    inside, beside = pairs.mask & pairs.part, pairs.part & ~pairs.mask
    return {
        "image_AUROC": auroc(normal.pred_score, found.pred_score),
        "pixel_AUROC_in_part": auroc(found.anomaly_map[beside], found.anomaly_map[inside]),
    }


def train(model: Clip3dAd, pairs: Pairs, held_out: Pairs, marks: Sequence[int], batch: int) -> Iterator[Result]:
    """Train the heads on random pairs; yields the losses and what `judged` says at every mark."""
    each = len(pairs.mask) // len(pairs.normal_part)
    optimiser = model.configure_optimizers()
    generator = torch.Generator().manual_seed(torch.initial_seed() % 2**31)
    seen: list[dict[str, float]] = []
    for step in tqdm(range(max(marks) + 1), desc="steps", leave=False):
        if step in marks:
            mean = {name: sum(loss[name] for loss in seen) / len(seen) for name in seen[0]} if seen else {}
            yield {"steps": step} | mean | judged(model, held_out)
            seen = []
        model.model.train()
        chosen = torch.randint(len(pairs.mask), (batch,), generator=generator).tolist()
        features = join([rows_of(pairs.normal, [row // each for row in chosen]), rows_of(pairs.anomalous, chosen)])
        mask = torch.cat([torch.zeros_like(pairs.mask[chosen]), pairs.mask[chosen]])
        losses = model.losses(features, mask)
        optimiser.zero_grad()
        losses["train_loss"].backward()
        optimiser.step()
        seen.append({name: value.item() for name, value in losses.items()})


def without(model: Clip3dAd, frozen: str | None) -> None:
    """Keep a part as it starts."""
    for name in model.learning_rates:
        if frozen and (name == frozen or (frozen == "text" and name.endswith("text_adapter"))):
            model.learning_rates[name] = 0.0


def runs(arguments: argparse.Namespace) -> Iterator[Result]:
    """Run every variant, category and seed, all parts trained and each part of `--frozen` kept as it starts."""
    for variant in arguments.variants:
        settings = (settings_of(variant) if variant.endswith(".yaml") else json.loads(variant)) | OFFLINE
        for category in arguments.categories:
            for seed in arguments.seeds:
                where: Any = {"root": arguments.root, "val_split_mode": "none"}
                shots = parts_of(category, k_shot=arguments.k_shot, shot_seed=seed, **where)
                every = parts_of(category, **where)
                shots.setup()
                every.setup()
                chosen: Any = shots.train_data
                normal: Any = every.train_data
                used = {item.image_path for item in chosen}
                others = [item for item in normal if item.image_path not in used]
                seed_everything(seed, verbose=False)
                model = Clip3dAd(**settings, class_name=category.replace("_", " "), visualizer=False)
                start = {name: value.clone() for name, value in model.state_dict().items()}
                pairs = read_pairs(model, list(chosen), arguments.pairs, seed, model._synthesis.size)
                held_out = read_pairs(model, others, 6, 1000 + seed, _SIZE)
                rates = dict(model.learning_rates)
                for frozen in (None, *arguments.frozen):
                    model.load_state_dict(start)
                    model.learning_rates = dict(rates)
                    without(model, frozen)
                    seed_everything(seed, verbose=False)
                    for result in train(model, pairs, held_out, arguments.marks, arguments.batch):
                        names = {"variant": variant, "frozen": frozen or "", "category": category, "seed": seed}
                        yield names | result


def tables(done: list[Result]) -> Iterator[Table]:
    """Means over the categories, with the standard deviation over the seeds."""
    names = ("train_loss_seg", "train_loss_con", "image_AUROC", "pixel_AUROC_in_part")
    for variant in dict.fromkeys(row["variant"] for row in done):
        table = Table("kept as it starts", "steps", *names, title=variant)
        rows = [row for row in done if row["variant"] == variant]
        for frozen, steps in dict.fromkeys((row["frozen"], row["steps"]) for row in rows):
            alike = [row for row in rows if (row["frozen"], row["steps"]) == (frozen, steps)]
            table.add_row(frozen or "nothing", str(steps), *(cell(alike, name) for name in names))
        yield table


def cell(rows: list[Result], name: str) -> str:
    """Mean and, for several seeds, standard deviation; nothing where it was not measured."""
    if name not in rows[0]:
        return ""
    value = over_seeds(rows, name)
    return f"{value['mean']:.3f}" + (f" ±{value['deviation']:.3f}" if value["deviation"] else "")


def main() -> None:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--root", default="datasets/Toy3D", help="created if missing")
    add("--categories", nargs="+", default=list(CATEGORIES), help="of Toy3D, or folders of --root (MVTec 3D-AD layout)")
    add("--variants", nargs="+", default=["clip3dad_tuned.yaml"], help=f"configs below {CONFIGS.name}, or JSON")
    add("--frozen", nargs="*", default=[], choices=PARTS, help="also train with each of these kept as it starts")
    add("--k_shot", type=int, default=4)
    add("--seeds", type=int, nargs="+", default=[0])
    add("--marks", type=int, nargs="+", default=[0, 50, 200], help="steps after which to measure")
    add("--pairs", type=int, default=24, help="synthetic anomalies on each shot")
    add("--batch", type=int, default=2, help="pairs in a step")
    add("--out", type=Path, default=Path("results/learning.json"))
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    done = []
    for result in runs(arguments):
        done.append(result)
        arguments.out.write_text(json.dumps(done, indent=1) + "\n", encoding="utf-8")
    console = Console(width=160)
    for table in tables(done):
        console.print(table)
    print(f"All numbers: {arguments.out.absolute()}")


if __name__ == "__main__":
    main()
