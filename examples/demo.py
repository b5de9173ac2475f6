# SPDX-License-Identifier: Apache-2.0
"""The whole workflow without downloads: make toy parts, train on a few normal ones, test, draw.

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
KINDS = {  # folder of the test parts -> their defect
    "good": "none",
    "colour": "colour: stain, scratch or wrong colour",
    "combined": "colour and geometry: crack, lump or chip",
    "geometry": "geometry alone: dent, bump, gouge, cut or bend",
    "missing": "points that were not measured",
}


class Answers(Callback):
    """Keeps the raw score and the kind of every test part, before the post-processor."""

    def __init__(self) -> None:
        self.scores: list[torch.Tensor] = []
        self.kinds: list[str] = []

    def on_test_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *_: Any) -> None:  # noqa: ARG002
        """Keep scores and kinds of a batch; the files are KIND/rgb/NNN.png."""
        self.scores += list(outputs.pred_score.cpu())
        self.kinds += [Path(path).parent.parent.name for path in outputs.image_path]

    def auroc(self, *kinds: str) -> float:
        """AUROC of the anomalous parts of these kinds against the normal ones."""
        rows = [row for row, kind in enumerate(self.kinds) if kind in {"good", *kinds}]
        anomalous = torch.tensor([self.kinds[row] != "good" for row in rows], dtype=torch.long)
        return binary_auroc(torch.stack([self.scores[row] for row in rows]), anomalous).item()


def run(arguments: argparse.Namespace) -> tuple[dict[str, float], Answers, Path]:
    """Train and test once; return the metrics, the raw scores, and the folder of the images."""
    seed_everything(arguments.seed, verbose=False)
    data = Toy3D(
        root=arguments.root,
        category=arguments.category,
        k_shot=arguments.k_shot,
        shot_seed=arguments.seed,
        train_batch_size=2,
    )
    # as in configs/clip3dad_tuned.yaml, with the small CLIP
    model = Clip3dAd(
        "ViT-Ti-Lite0-16-240",
        "small",
        view_paint="grey",
        crop_to_part=True,
        fusion="late",
        geometry=0.5,
        anomaly_size=(0.005, 0.05),
        loss_temperature=0.07,
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
    """Save the first part of each kind in one image, detected or missed."""
    rows = [Image.open(next(iter(sorted(kind.glob("*.png"))))) for kind in sorted((pictures / "test").iterdir())]
    sheet = Image.new("RGB", (max(row.width for row in rows), sum(row.height for row in rows)))
    for i, row in enumerate(rows):
        sheet.paste(row, (0, sum(above.height for above in rows[:i])))
    sheet.save(pictures / "overview.png")
    return pictures / "overview.png"


def tables(metrics: dict[str, float], answers: Answers, title: str) -> list[Table]:
    """Tables of the image AUROC of each kind of defect and of the metrics over all parts."""
    by_kind = Table("defect", "parts", "image AUROC", title=title)
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
        "This demo uses the small CLIP of this package (docs/small_clip.md lists what it can and cannot detect); "
        "for the paper's CLIP see the README, 'Weights and data'.",
        style="bold yellow",
    )
    # not through the console, which would wrap long paths
    print(f"One of each kind (image, depth, mask, anomaly map, prediction): {overview(pictures).absolute()}")
    print(f"All images: {pictures.absolute()}")


if __name__ == "__main__":
    main()
