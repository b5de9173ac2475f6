# SPDX-License-Identifier: Apache-2.0
"""The main job without any download: make parts, learn from a few normal ones, find the anomalous ones, draw.

python examples/demo.py [--category gear] [--k_shot 4] [--max_steps 40] [--seed 0]
"""

import argparse
import logging
import warnings
from pathlib import Path
from typing import Any

import torch
from anomalib.engine import Engine
from lightning.pytorch import Callback, seed_everything
from PIL import Image
from rich.console import Console
from rich.table import Table
from torchmetrics.functional.classification import binary_auroc

from anomalib_clip3dad.data import Toy3D
from anomalib_clip3dad.models import Clip3dAd

RESULTS = Path("results/demo")
KINDS = {  # folder of the test parts -> what is wrong with them
    "good": "nothing",
    "colour": "colour: stain, scratch or wrong colour",
    "combined": "colour and geometry: crack, lump or chip",
    "geometry": "geometry alone: dent, bump, gouge, cut or bend",
    "missing": "points that were not measured",
}


class Answers(Callback):
    """Keeps the raw score and the kind of every test part, in front of the post-processor."""

    def __init__(self) -> None:
        self.scores: list[torch.Tensor] = []
        self.kinds: list[str] = []

    def on_test_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *_: Any) -> None:  # noqa: ARG002
        """Keep those of a batch; the files are KIND/rgb/NNN.png."""
        self.scores += list(outputs.pred_score.cpu())
        self.kinds += [Path(path).parent.parent.name for path in outputs.image_path]

    def auroc(self, *kinds: str) -> float:
        """How well anomalous parts of these kinds are told from the normal ones: 0.5 by chance, 1 at best."""
        rows = [row for row, kind in enumerate(self.kinds) if kind in {"good", *kinds}]
        anomalous = torch.tensor([self.kinds[row] != "good" for row in rows], dtype=torch.long)
        return binary_auroc(torch.stack([self.scores[row] for row in rows]), anomalous).item()


def run(arguments: argparse.Namespace) -> tuple[dict[str, float], Answers, Path]:
    """Train and test once; the metrics, what each part was given, and the folder of the pictures."""
    seed_everything(arguments.seed, verbose=False)
    data = Toy3D(
        root=arguments.root,
        category=arguments.category,
        k_shot=arguments.k_shot,
        shot_seed=arguments.seed,
        train_batch_size=2,
    )
    # what configs/offline.yaml says
    model = Clip3dAd(
        "ViT-Ti-Lite0-16-240",
        "small",
        view_paint="grey",
        crop_to_part=True,
        fusion="late",
        geometry=0.5,
        balanced_loss=True,
    )
    answers = Answers()
    engine = Engine(
        default_root_dir=RESULTS,
        max_steps=arguments.max_steps,
        callbacks=[answers],
        enable_model_summary=False,
    )
    engine.fit(model, datamodule=data)
    metrics = engine.test(model, datamodule=data, verbose=False)[0]
    return dict(metrics), answers, Path(engine.trainer.default_root_dir) / "images"


def overview(pictures: Path) -> Path:
    """The first part of each kind below each other, found or missed as they are."""
    rows = [Image.open(next(iter(sorted(kind.glob("*.png"))))) for kind in sorted((pictures / "test").iterdir())]
    sheet = Image.new("RGB", (max(row.width for row in rows), sum(row.height for row in rows)))
    for i, row in enumerate(rows):
        sheet.paste(row, (0, sum(above.height for above in rows[:i])))
    sheet.save(pictures / "overview.png")
    return pictures / "overview.png"


def tables(metrics: dict[str, float], answers: Answers, title: str) -> list[Table]:
    """What is wrong with the parts and how well they are told from the normal ones; the metrics over all."""
    by_kind = Table("what is wrong", "parts", "image AUROC", title=title)
    for kind, wrong in KINDS.items():
        found = "" if kind == "good" else f"{answers.auroc(kind):.3f}"
        by_kind.add_row(wrong, str(answers.kinds.count(kind)), found)
    overall = Table("metric", "value", title="All kinds together")
    for name, value in metrics.items():
        overall.add_row(name.replace("_", " "), f"{value:.3f}")
    return [by_kind, overall]


def main() -> None:
    """Run the demo."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default="datasets/Toy3D")
    parser.add_argument("--category", default="gear")
    parser.add_argument("--k_shot", type=int, default=4)
    parser.add_argument("--max_steps", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    metrics, answers, pictures = run(arguments)
    console = Console()
    for table in tables(metrics, answers, f"CLIP3D-AD, {arguments.k_shot}-shot, {arguments.category}"):
        console.print(table)
    console.print(
        "The CLIP of this demo is the small one of this package (docs/small_clip.md says what it finds and what not); "
        "with the paper's CLIP: README, 'Real weights'.",
        style="bold yellow",
    )
    # not through the console, which would break long paths into lines
    print(f"One of each kind (image, depth, mask, heat map, prediction): {overview(pictures).absolute()}")
    print(f"All pictures: {pictures.absolute()}")


if __name__ == "__main__":
    main()
