# SPDX-License-Identifier: Apache-2.0
"""What Clip3dAd learns from a few good parts, and how long it thinks about one."""

import statistics
import tempfile
import time
from argparse import Namespace
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import torch
import yaml
from anomalib.engine import Engine
from lightning.pytorch import Callback, seed_everything
from torch import Tensor
from zero_shot import Result, image_aurocs, parts_of

from anomalib_clip3dad.callbacks import AnomalySynthesis
from anomalib_clip3dad.data import MVTec3DXYZ
from anomalib_clip3dad.models import Clip3dAd

CONFIGS = Path(__file__).resolve().parent.parent / "configs"


def settings_of(config: str) -> dict[str, Any]:
    """The model's settings in a config of the project."""
    return yaml.safe_load((CONFIGS / config).read_text(encoding="utf-8"))["model"]["init_args"]


_CLIP = {"clip_model", "pretrained", "layers"}  # of the command line
_OFFLINE = {name: value for name, value in settings_of("offline.yaml").items() if name not in _CLIP}
VARIANTS: dict[str, dict[str, Any]] = {
    "offline": _OFFLINE,
    "no_views": _OFFLINE | {"views": ()},
    "no_colour": _OFFLINE | {"geometry": 1.0},  # and all pictures grey, see `Colourless`
    "paper": {},
}
"""Arguments of `Clip3dAd`; other things changed one at a time are the grid configs/benchmark/ablations.yaml."""

SETTING = ("pretrained", "variant", "k_shot")
RUN = (*SETTING, "category", "seed")  # what a run is known by; the rest are its metrics

_WARM_UP = 3


class RawScores(Callback):
    """Keeps the score and the kind of every test sample."""

    def __init__(self) -> None:
        self.scores: list[Tensor] = []
        self.kinds: list[str] = []

    def on_test_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *_: Any) -> None:  # noqa: ARG002
        """Keep those of a batch; the files are KIND/rgb/NNN.png."""
        self.scores.append(outputs.pred_score.cpu())
        self.kinds += [Path(path).parts[-3] for path in outputs.image_path]


class Colourless(AnomalySynthesis):
    """Takes all colours away before views are rendered: what is left is the cloud."""

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Make the pairs, then grey."""
        super().on_train_batch_start(trainer, pl_module, batch, batch_idx)
        batch.image = torch.full_like(batch.image, 0.5)

    def on_test_batch_start(self, trainer: Any, pl_module: Any, batch: Any, *_: int) -> None:  # noqa: ARG002
        """Grey."""
        batch.image = torch.full_like(batch.image, 0.5)


def make_model(pretrained: str, variant: str, arguments: Namespace, **kwargs: Any) -> Clip3dAd:
    """Make a variant of the model whose scores stay raw and which draws nothing.

    Args:
        pretrained: as `Clip3dAd` takes it, or "random".
        variant: one of `VARIANTS`.
        arguments: of the command line.
        **kwargs: further arguments of `Clip3dAd`.

    Returns:
        The model.
    """
    return Clip3dAd(
        clip_model=arguments.clip_model,
        pretrained=None if pretrained == "random" else pretrained,
        layers=arguments.layers,
        post_processor=False,
        visualizer=False,
        **VARIANTS[variant],
        **kwargs,
    )


def callbacks(variant: str) -> list[Callback]:
    """What a variant needs beside what the model brings."""
    return [Colourless(geometry=VARIANTS[variant]["geometry"])] if variant == "no_colour" else []


def run(pretrained: str, variant: str, data: MVTec3DXYZ, arguments: Namespace) -> Result:
    """Train and test once, as `examples/demo.py` does.

    Args:
        pretrained: as `Clip3dAd` takes it, or "random".
        variant: one of `VARIANTS`.
        data: a category with its shots; its `shot_seed` seeds the training, too.
        arguments: of the command line.

    Returns:
        The model's four metrics and the AUROC of each kind of defect.
    """
    seed_everything(data.shot_seed, verbose=False)
    model, raw = make_model(pretrained, variant, arguments), RawScores()
    with tempfile.TemporaryDirectory() as folder:
        engine = Engine(
            default_root_dir=folder,
            max_steps=arguments.max_steps,
            callbacks=[raw, *callbacks(variant)],
            logger=False,
            enable_model_summary=False,
            enable_progress_bar=False,
        )
        engine.fit(model, datamodule=data)
        metrics = engine.test(model, datamodule=data, verbose=False)[0]
    # ours, exact, goes over the metric of the same name
    return dict(metrics) | image_aurocs(torch.cat(raw.scores), raw.kinds)


def runs(arguments: Namespace, toy: dict[str, Any]) -> Iterator[Result]:
    """Do all runs that the command line asks for.

    Args:
        arguments: of the command line.
        toy: arguments of every `Toy3D`.

    Yields:
        After each run, what it is known by (`RUN`) and its metrics.
    """
    asked = (arguments.pretrained, arguments.variants, arguments.k_shot, arguments.categories, arguments.seeds)
    for names in product(*asked):
        pretrained, variant, k_shot, category, seed = names
        shots = {"k_shot": k_shot, "shot_seed": seed, "train_batch_size": 2, "val_split_mode": "none"}
        data = parts_of(category, **shots, **toy)
        yield dict(zip(RUN, names, strict=True)) | run(pretrained, variant, data, arguments)


def summary(done: list[Result]) -> list[Result]:
    """Mean and standard deviation over the seeds, for each category and for the mean of the categories.

    Args:
        done: runs; each category was run with the same seeds.

    Returns:
        One row per pretrained, variant, k_shot and category ("mean" = the mean of the categories): `metrics` by name,
        each with `mean` and `deviation` (None for a single seed).
    """
    metrics = [name for name in done[0] if name not in RUN]
    rows = []
    for known in dict.fromkeys(map(setting, done)):
        alike = [row for row in done if setting(row) == known]
        for category in (*dict.fromkeys(row["category"] for row in alike), "mean"):
            chosen = [row for row in alike if category in {row["category"], "mean"}]
            row = dict(zip(SETTING, known, strict=True)) | {"category": category}
            rows.append(row | {"metrics": {name: over_seeds(chosen, name) for name in metrics}})
    return rows


def setting(row: Result) -> tuple[Any, ...]:
    """What runs share that differ in category and seed only."""
    return tuple(row[name] for name in SETTING)


def over_seeds(done: list[Result], metric: str) -> dict[str, float | None]:
    """Average a metric over the categories of each seed, then over the seeds.

    Example:
        >>> done = [{"seed": 0, "m": 0.0}, {"seed": 0, "m": 2.0}, {"seed": 1, "m": 3.0}]
        >>> over_seeds(done, "m")
        {'mean': 2.0, 'deviation': 1.4142135623730951}
    """
    seeds = sorted({row["seed"] for row in done})
    values = [statistics.mean(row[metric] for row in done if row["seed"] == seed) for seed in seeds]
    return {"mean": statistics.mean(values), "deviation": statistics.stdev(values) if len(values) > 1 else None}


def speed(pretrained: str, variant: str, arguments: Namespace, toy: dict[str, Any]) -> dict[str, float]:
    """Time one test sample from picture and cloud to score and map, views rendered on the way.

    Says something on an idle machine only: threads that wait for a busy core are many times slower than one.

    Args:
        pretrained: as `Clip3dAd` takes it, or "random".
        variant: one of `VARIANTS`.
        arguments: of the command line.
        toy: arguments of `Toy3D`.

    Returns:
        `median_s` over the repetitions and `samples_per_s`, its inverse.
    """
    data = parts_of(arguments.categories[0], **toy)
    data.setup()
    item: Any = data.test_data[0]
    model = make_model(pretrained, variant, arguments, class_name=data.category).eval()
    before, seconds = torch.get_num_threads(), []
    torch.set_num_threads(arguments.threads)
    try:
        for _ in range(_WARM_UP + arguments.repeats):
            start = time.perf_counter()
            with torch.inference_mode():
                model(item.image[None], item.depth_map[None])
            seconds.append(time.perf_counter() - start)
    finally:
        torch.set_num_threads(before)
    median = statistics.median(seconds[_WARM_UP:])
    return {"median_s": median, "samples_per_s": 1 / median}
