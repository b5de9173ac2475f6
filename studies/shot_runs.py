# SPDX-License-Identifier: Apache-2.0
"""Few-shot runs of Clip3dAd: metrics after training, and time per sample."""

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
    """Read the model's settings from a config of the project."""
    return yaml.safe_load((CONFIGS / config).read_text(encoding="utf-8"))["model"]["init_args"]


OFFLINE = settings_of("offline.yaml")
_CLIP = {"clip_model", "pretrained", "layers"}  # set on the command line
_TUNED = {name: value for name, value in settings_of("clip3dad_tuned.yaml").items() if name not in _CLIP}
VARIANTS: dict[str, dict[str, Any]] = {
    "tuned": _TUNED,
    "no_views": _TUNED | {"views": ()},
    "no_colour": _TUNED | {"geometry": 1.0},  # and all images grey, see `Colourless`
    "paper": {},
}
"""Arguments of `Clip3dAd`; other ablations are in the grid configs/benchmark/ablations.yaml."""

SETTING = ("pretrained", "variant", "k_shot")
RUN = (*SETTING, "category", "seed")  # identifies a run; its other fields are metrics

_WARM_UP = 3


class RawScores(Callback):
    """Keeps the score and the kind of every test sample."""

    def __init__(self) -> None:
        self.scores: list[Tensor] = []
        self.kinds: list[str] = []

    def on_test_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *_: Any) -> None:  # noqa: ARG002
        """Keep scores and kinds of a batch; the files are KIND/rgb/NNN.png."""
        self.scores.append(outputs.pred_score.cpu())
        self.kinds += [Path(path).parts[-3] for path in outputs.image_path]


class Colourless(AnomalySynthesis):
    """Makes all images grey before views are rendered, which leaves only the geometry."""

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Make the pairs, then make the images grey."""
        super().on_train_batch_start(trainer, pl_module, batch, batch_idx)
        batch.image = torch.full_like(batch.image, 0.5)

    def on_test_batch_start(self, trainer: Any, pl_module: Any, batch: Any, *_: int) -> None:  # noqa: ARG002
        """Make the images grey."""
        batch.image = torch.full_like(batch.image, 0.5)


def make_model(pretrained: str, variant: str, arguments: Namespace, **kwargs: Any) -> Clip3dAd:
    """Make a variant of the model, with raw scores and without visualizer.

    Args:
        pretrained: As in `Clip3dAd`, or "random".
        variant: One of `VARIANTS`.
        arguments: Arguments of the command line.
        **kwargs: Further arguments of `Clip3dAd`.

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
    """Callbacks that a variant needs in addition to the model's own."""
    return [Colourless(geometry=VARIANTS[variant]["geometry"])] if variant == "no_colour" else []


def run(pretrained: str, variant: str, data: MVTec3DXYZ, arguments: Namespace) -> Result:
    """Train and test once, as `examples/demo.py` does.

    Args:
        pretrained: As in `Clip3dAd`, or "random".
        variant: One of `VARIANTS`.
        data: Data module of a category; its `shot_seed` is also the seed of the training.
        arguments: Arguments of the command line.

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
    # our exact image_AUROC replaces the metric of the same name
    return dict(metrics) | image_aurocs(torch.cat(raw.scores), raw.kinds)


def runs(arguments: Namespace, toy: dict[str, Any]) -> Iterator[Result]:
    """Do all runs of the command line.

    Args:
        arguments: Arguments of the command line.
        toy: Arguments of every `Toy3D`.

    Yields:
        The settings (`RUN`) and metrics of each run, as it finishes.
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
        done: Finished runs, with the same seeds for each category.

    Returns:
        One row per pretrained, variant, k_shot and category ("mean" = the mean of the categories): `metrics` by name,
        each with `mean` and standard `deviation` (None for a single seed).
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
    """Settings of a run without category and seed."""
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
    """Time one test sample from image and cloud to score and map, including the rendering of views.

    Run on an idle machine: several threads that wait for a busy core are many times slower than one.

    Args:
        pretrained: As in `Clip3dAd`, or "random".
        variant: One of `VARIANTS`.
        arguments: Arguments of the command line.
        toy: Arguments of `Toy3D`.

    Returns:
        `median_s` over the repetitions, and its inverse `samples_per_s`.
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
