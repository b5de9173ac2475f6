# SPDX-License-Identifier: Apache-2.0
"""GS-CLIP with the small CLIP: trained on one procedural category, tested on parts that it has never seen.

Each sample is rendered and read once; every variant learns from that. Finished variants are kept in --out, so that the
same command goes on where it stopped.

python studies/gs_clip.py --train gear capsule waffle --variants whole "stage 1" "plain prompts"
python studies/gs_clip.py --train gear --real MVTEC_3D_AD/cable_gland
python studies/gs_clip.py --settings '{"context": "words", "stage1_lr": 2e-4}' --out results/gs_clip_words.json
"""

import argparse
import json
import statistics
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import open_clip
import torch
from anomalib.data import ImageBatch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from tqdm import tqdm
from zero_shot import Result, auroc, parts_of, pixel_metrics

from anomalib_clip3dad.clip import embed_prompts, load_clip, prompt_ensemble
from anomalib_clip3dad.geometry import PartBox, paste_map
from anomalib_clip3dad.models import GsClip
from anomalib_clip3dad.models.frozen_cache import join, rows_of
from anomalib_clip3dad.models.gs_clip.stages import Known
from anomalib_clip3dad.models.gs_clip.torch_model import Views
from anomalib_clip3dad.models.part_cut import Cut
from anomalib_clip3dad.seeding import drawing_from
from anomalib_clip3dad.toy import CATEGORIES

_CLIP = ("ViT-Ti-Lite0-16-240", "small")
_SMALL: dict[str, Any] = {"clip_model": _CLIP[0], "pretrained": _CLIP[1], "vv_from": None, "num_points": 1024}
_QUIET: dict[str, Any] = {"post_processor": False, "evaluator": False, "visualizer": False}
_BATCH = 4  # clouds in a step, as the authors' code

VARIANTS: dict[str, dict[str, Any]] = {
    "whole": {},
    "stage 1": {"depth_stream": False},
    "no shape prompt": {"shape_prompt": False, "depth_stream": False},
    "no GDDM": {"defect_prompt": False, "depth_stream": False},
    "no geometry": {"shape_prompt": False, "defect_prompt": False, "depth_stream": False},
    "no consistency": {"stage2_losses": ["views", "cloud", "points", "pixels"]},
    "released losses": {"stage2_losses": ["views", "points", "consistency"]},
    "views alone": {"stage1_losses": ["views", "cloud"], "depth_stream": False},
    "maps alone": {"stage1_losses": ["points", "pixels"], "depth_stream": False},
    "plain prompts": {"depth_stream": False},
}
"""Arguments of `GsClip`. "plain prompts" is the same CLIP and the same views with WinCLIP's prompts, untrained."""


class Samples(NamedTuple):
    """The test samples of a category.

    Attributes:
        known: What never changes of them.
        boxes: Where each part was cropped.
        masks: (N, H, W) bool, in the whole image.
    """

    known: Known
    boxes: PartBox
    masks: Tensor


@torch.inference_mode()
def read(model: GsClip, category: str, arguments: argparse.Namespace) -> Samples:
    """Render and read all test samples of a category of Toy3D, or of a folder in MVTec 3D-AD's layout."""
    folder = Path(category)
    root, name = (str(folder.parent), folder.name) if category not in CATEGORIES else (arguments.root, category)
    data = parts_of(name, root)
    data.prepare_data()
    data.setup()
    known, boxes, masks = [], [], []
    for item in tqdm(data.test_data, desc=f"reading {name}", unit="sample", leave=False):
        image, xyz, foreground = model.prepare(item.image[None], item.depth_map[None])
        mask = item.gt_mask.reshape(1, 1, *item.gt_mask.shape[-2:]).float()
        mask = torch.nn.functional.interpolate(mask, image.shape[-2:])[:, 0] > 0
        cut = model.cut(image, xyz, foreground)
        assert cut.box is not None  # noqa: S101
        known.append(model.know(cut, mask))
        boxes.append(cut.box)
        masks.append(mask)
    return Samples(join(known), join(boxes), torch.cat(masks))


def train(model: GsClip, known: Known, arguments: argparse.Namespace, what: str) -> None:
    """Take the steps of both stages."""
    model.train()
    optimiser: Any = model.configure_optimizers()
    order = torch.Generator().manual_seed(arguments.seed)
    both = arguments.stage1_steps + (arguments.stage2_steps if model.model.refinement is not None else 0)
    rows: list[int] = []
    bar = tqdm(range(both), desc=what, unit="step", leave=False)
    for step in bar:
        if len(rows) < _BATCH:
            rows += torch.randperm(len(known.points), generator=order).tolist()
        chosen, rows = rows[:_BATCH], rows[_BATCH:]
        with drawing_from(arguments.seed, step):
            losses = model.losses(rows_of(known, chosen), step >= arguments.stage1_steps)
        optimiser.zero_grad()
        losses["train_loss"].backward()
        optimiser.step()
        bar.set_postfix({name.removeprefix("train_loss_"): f"{value:.2f}" for name, value in losses.items()})
    model.eval()


@torch.inference_mode()
def evaluate(model: GsClip, samples: Samples, plain: Tensor | None = None) -> Result:
    """Score the samples as `GsClip.judge` does, and compute object AUROC, pixel AUROC and AUPRO up to 0.3."""
    scores, maps, views = [], [], []
    size = (samples.masks.shape[-2], samples.masks.shape[-1])
    for row in range(len(samples.masks)):
        known, box = rows_of(samples.known, slice(row, row + 1)), rows_of(samples.boxes, slice(row, row + 1))
        text = model.model.text(known.points) if plain is None else plain
        seen = Views(known.cls, known.patches)
        if model.model.refinement is not None:
            seen = model.model.refine(seen, known.depth)
        judged = model.model.compare(seen, text)
        part = known.part.reshape(1, model.size, model.size)
        # the cloud's coordinates do not matter to the map of an organised one
        cut = Cut(part[:, None], part[:, None].expand(-1, 3, -1, -1).float(), part, box)
        smooth = model.on_points(judged.maps, known.cells, known.visible, cut)
        scores.append((smooth.amax() + judged.shares.mean()) / 2)
        views.append(judged.shares.mean())
        maps.append(paste_map(smooth, box, size))
    faulty = samples.known.mask.any(dim=1)
    score, share = torch.stack(scores), torch.stack(views)
    image = torch.zeros(len(scores), 3, 1, 1)
    pixels = pixel_metrics(ImageBatch(image=image, anomaly_map=torch.cat(maps), gt_mask=samples.masks))
    return {
        "object_AUROC": auroc(score[~faulty], score[faulty]),
        "views_AUROC": auroc(share[~faulty], share[faulty]),
        **pixels,
    }


def run(name: str, category: str, samples: dict[str, Samples], arguments: argparse.Namespace) -> dict[str, Result]:
    """Train a variant on one category and test it on all others; results by category."""
    model = GsClip(**_SMALL | _QUIET | arguments.settings | VARIANTS[name], seed=arguments.seed)
    plain = None
    if name == "plain prompts":
        clip = load_clip(*_CLIP)
        plain = embed_prompts(clip, open_clip.get_tokenizer(_CLIP[0]), *prompt_ensemble("cpe", "object"))
    else:
        train(model, samples[category].known, arguments, f"{name}, {category}")
        if arguments.save:
            file = arguments.out.with_name(f"{name} {category}.pt".replace(" ", "_"))
            torch.save({n: v for n, v in model.state_dict().items() if not n.startswith("model.tower.")}, file)
    model.eval()
    return {other: evaluate(model, of, plain) for other, of in samples.items() if other != category}


def table(results: dict[str, dict[str, dict[str, Result]]], where: Sequence[str], title: str) -> Table:
    """Mean over the tested categories, then mean and standard deviation over the categories trained on."""
    made = Table("variant", "object AUROC", "views alone", "pixel AUROC", "AUPRO", title=title)
    for name, by_category in results.items():
        cells = []
        for metric in ("object_AUROC", "views_AUROC", "pixel_AUROC", "pixel_AUPRO"):
            means = [
                statistics.mean(of[other][metric] for other in where if other in of)
                for of in by_category.values()
                if set(where) & set(of)
            ]
            spread = f" ± {statistics.stdev(means):.3f}" if len(means) > 1 else ""
            cells.append(f"{statistics.mean(means):.3f}{spread}" if means else "")
        made.add_row(name, *cells)
    return made


def parse(command: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--train", nargs="+", choices=CATEGORIES, default=["gear", "capsule", "waffle"], help="one after the other")
    add("--test", nargs="*", choices=CATEGORIES, default=list(CATEGORIES), help="the one trained on is left out")
    add("--real", nargs="*", default=[], help="folders of categories in MVTec 3D-AD's layout")
    add("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS), metavar="VARIANT", help=", ".join(VARIANTS))
    add("--settings", type=json.loads, default={}, metavar="JSON", help="arguments of GsClip for all variants")
    add("--stage1_steps", type=int, default=200)
    add("--stage2_steps", type=int, default=60)
    add("--seed", type=int, default=0)
    add("--root", default="datasets/Toy3D", help="created if missing")
    add("--save", action="store_true", help="keep the trained weights beside --out")
    add("--out", type=Path, default=Path("results/gs_clip.json"))
    return parser.parse_args(command)


def main() -> None:
    """Run all variants that are not yet in --out."""
    arguments = parse()
    warnings.filterwarnings("ignore")
    results: dict[str, Any] = json.loads(arguments.out.read_text()) if arguments.out.is_file() else {}
    reader = GsClip(**_SMALL, **_QUIET, depth_stream=False).eval()
    wanted = dict.fromkeys([*arguments.train, *arguments.test, *arguments.real])
    todo = [(c, n) for c in arguments.train for n in arguments.variants if c not in results.get(n, {})]
    samples = {name: read(reader, name, arguments) for name in wanted} if todo else {}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    for category, name in tqdm(todo, desc="runs"):
        results.setdefault(name, {})[category] = run(name, category, samples, arguments)
        arguments.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    console = Console(width=120)
    shown = {name: results[name] for name in arguments.variants if name in results}
    console.print(table(shown, [*arguments.test], "Toy3D, categories that were not trained on"))
    for real in arguments.real:
        console.print(table(shown, [real], real))
    print(f"All numbers: {arguments.out.absolute()}")


if __name__ == "__main__":
    main()
