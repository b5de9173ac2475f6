# SPDX-License-Identifier: Apache-2.0
"""Results of a CLIP for its model card: by prompts alone, for each prompt set, after a few shots, and speed.

python studies/model_card.py --only zero_shot prompts --pretrained small random --out results/model_card.json
python studies/model_card.py --only zero_shot few_shot --root MVTEC_3D_AD --categories cable_gland --k_shot 4
"""

import argparse
import json
import logging
import math
import os
import statistics
import sys
import warnings
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import open_clip
import shot_runs
from rich.console import Console
from rich.table import Table
from tqdm import tqdm
from zero_shot import Result, evaluate, mean_of, parts_of, read

from anomalib_clip3dad.clip import PROMPT_SETS, embed_prompts, load_clip, prompt_ensemble
from anomalib_clip3dad.toy import CATEGORIES
from anomalib_clip3dad.weights import weights_hash

SCORES = ("model", "picture", "picture_cls", "views_cls")
PIXEL = ("pixel_AUROC", "pixel_AUPRO")


def load(pretrained: str, arguments: argparse.Namespace) -> Any:
    """Load a CLIP: a name or file as in `load_clip`, or "random"."""
    return load_clip(arguments.clip_model, None if pretrained == "random" else pretrained)


def by_prompts(arguments: argparse.Namespace, prompt_sets: Sequence[str]) -> dict[str, dict[str, Result]]:
    """Evaluate without training; results by weights, prompt set and category ("mean" = their mean)."""
    tokenizer = open_clip.get_tokenizer(arguments.clip_model)
    results: dict[str, dict[str, Result]] = {n: {p: {} for p in prompt_sets} for n in arguments.pretrained}
    for name in arguments.pretrained:
        clip = load(name, arguments)
        model = shot_runs.make_model(name, arguments.variants[0], arguments).eval()
        for category in tqdm(arguments.categories, desc="categories"):
            samples = read(model, parts_of(category, **toy(arguments)))
            for prompts in prompt_sets:
                written = prompt_ensemble(prompts, category.replace("_", " "))
                model.model.text.copy_(embed_prompts(clip, tokenizer, *written))
                results[name][prompts][category] = evaluate(samples, model)
    for of_sets in results.values():
        for of_categories in of_sets.values():
            of_categories["mean"] = mean_of(list(of_categories.values()))
    return results


def zero_shot(arguments: argparse.Namespace) -> Iterator[Result]:
    """Evaluate the paper's prompts without training."""
    yield {name: of_sets["cpe"] for name, of_sets in by_prompts(arguments, ["cpe"]).items()}


def prompts(arguments: argparse.Namespace) -> Iterator[Result]:
    """Evaluate every prompt set, and how much they differ."""
    results: Result = dict(by_prompts(arguments, list(PROMPT_SETS)))
    for of_sets in results.values():
        means = [of_set["mean"] for of_set in of_sets.values()]
        of_sets["spread"] = {score: spread([mean[score]["image_AUROC"] for mean in means]) for score in SCORES}
    yield results


def spread(values: Sequence[float]) -> dict[str, float]:
    """Spread of some numbers."""
    return {"lowest": min(values), "highest": max(values), "deviation": statistics.stdev(values)}


def shots(arguments: argparse.Namespace) -> Iterator[Result]:
    """Train on a few shots; yields the results so far after every run, because a run takes long."""
    asked = (arguments.pretrained, arguments.variants, arguments.categories, arguments.k_shot, arguments.seeds)
    done: list[Result] = []
    for result in tqdm(shot_runs.runs(arguments, toy(arguments)), desc="runs", total=math.prod(map(len, asked))):
        done.append(result)
        yield {"runs": done, "summary": shot_runs.summary(done)}


def speed(arguments: argparse.Namespace) -> Iterator[Result]:
    """Time a test sample."""
    yield {
        pretrained: {v: shot_runs.speed(pretrained, v, arguments, toy(arguments)) for v in arguments.variants}
        for pretrained in arguments.pretrained
    }


PARTS = {"zero_shot": zero_shot, "prompts": prompts, "few_shot": shots, "speed": speed}


def tables(part: str, result: Result) -> Iterator[Table]:
    """Tables of the result of a part."""
    if part == "few_shot":
        yield from few_shot_tables(result["summary"])
        return
    for pretrained, found in result.items():
        if part == "zero_shot":
            yield prompts_table(found, f"By prompts alone, image AUROC of each score, weights: {pretrained}")
            yield kinds_table(found["mean"], f"By kind of defect, mean of the categories, weights: {pretrained}")
        elif part == "prompts":
            means = {name: of_set["mean"] for name, of_set in found.items() if name != "spread"}
            yield prompts_table(means, f"Prompt sets, mean of the categories, weights: {pretrained}")
            yield spread_table(found["spread"], f"Image AUROC over the prompt sets, weights: {pretrained}")
        else:
            table = Table("variant", "median s", "samples per s", title=f"One test sample, weights: {pretrained}")
            for variant, times in found.items():
                table.add_row(variant, f"{times['median_s']:.3f}", f"{times['samples_per_s']:.1f}")
            yield table


def prompts_table(rows: dict[str, Result], title: str) -> Table:
    """Image AUROC of every score, and the pixel metrics."""
    table = Table("", *SCORES, *(metric.replace("_", " ") for metric in PIXEL), title=title)
    for name, row in rows.items():
        values = [*(row[score]["image_AUROC"] for score in SCORES), *(row["model"][metric] for metric in PIXEL)]
        table.add_row(name, *(f"{value:.3f}" for value in values))
    return table


def kinds_table(mean: Result, title: str) -> Table:
    """AUROC of every kind of defect."""
    kinds = [name for name in mean["model"] if name not in PIXEL]
    table = Table("score", *kinds, title=title)
    for score in SCORES:
        table.add_row(score, *(f"{mean[score][kind]:.3f}" for kind in kinds))
    return table


def spread_table(spreads: dict[str, dict[str, float]], title: str) -> Table:
    """Spread of the image AUROC over the prompt sets."""
    table = Table("", *spreads, title=title)
    for name in next(iter(spreads.values())):
        table.add_row(name, *(f"{values[name]:.3f}" for values in spreads.values()))
    return table


def few_shot_tables(rows: list[Result]) -> Iterator[Table]:
    """Mean and, below it, standard deviation of every metric over the seeds."""
    names = [name.replace("_", " ") for name in rows[0]["metrics"]]
    for pretrained, variant, k_shot in dict.fromkeys(map(shot_runs.setting, rows)):
        table = Table("", *names, padding=0, title=f"{k_shot}-shot, {variant}, weights: {pretrained}")
        for row in rows:
            if shot_runs.setting(row) == (pretrained, variant, k_shot):
                table.add_row(row["category"], *map(cell, row["metrics"].values()))
        yield table


def cell(metric: dict[str, float | None]) -> str:
    """Mean and, for several runs, standard deviation."""
    deviation = metric["deviation"]
    return f"{metric['mean']:.3f}" + ("" if deviation is None else f"\n±{deviation:.3f}")


def toy(arguments: argparse.Namespace) -> dict[str, Any]:
    """Arguments of every Toy3D."""
    return {"root": arguments.root, "num_good": arguments.num_good, "num_defects": arguments.num_defects}


def parse(command: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART", help=", ".join(PARTS))
    add("--clip_model", default="ViT-Ti-Lite0-16-240")
    add("--pretrained", nargs="+", default=["small"], help="tags, files, or random for random weights")
    add("--layers", type=int, nargs="+", help="blocks of the vision tower; default: the model's")
    add("--categories", nargs="+", default=list(CATEGORIES), help="of Toy3D, or folders of --root (MVTec 3D-AD layout)")
    add("--variants", nargs="+", choices=shot_runs.VARIANTS, default=["tuned"], help="prompts alone: the first")
    add("--seeds", type=int, nargs="+", default=[0, 1, 2], help="seeds of shots and training; the parts stay the same")
    add("--k_shot", type=int, nargs="+", default=[1, 4])
    add("--max_steps", type=int, default=200)
    add("--repeats", type=int, default=20, help="number of timed runs")
    add("--threads", type=int, default=2, help="torch threads for timing")
    add("--root", default="datasets/Toy3D", help="created if missing")
    add("--num_good", type=int, default=10, help="normal test parts; another number needs another root")
    add("--num_defects", type=int, default=8, help="anomalous test parts of each kind; likewise")
    add("--out", type=Path, default=Path("results/model_card.json"))
    return parser.parse_args(command)


def main() -> None:
    """Run the parts of --only."""
    arguments = parse()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)  # Lightning resets the level of its loggers
    report: Result = {
        "arguments": vars(arguments) | {"out": str(arguments.out)},
        "versions": {name: version(name) for name in ("anomalib", "torch", "open_clip_torch")},
        "cpu_cores": os.cpu_count(),
        "weights": {name: weights_hash(load(name, arguments).state_dict()) for name in arguments.pretrained},
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    console = Console(width=None if sys.stdout.isatty() else 160)
    for part in arguments.only:
        for result in PARTS[part](arguments):
            report[part] = result
            arguments.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        for table in tables(part, report[part]):
            console.print(table)
    print(f"All numbers: {arguments.out.absolute()}")


if __name__ == "__main__":
    main()
