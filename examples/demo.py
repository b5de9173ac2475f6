# SPDX-License-Identifier: Apache-2.0
"""The main job without any download: make parts, learn from a few good ones, find the faulty ones, draw.

python examples/demo.py [--category ring] [--k_shot 4] [--max_steps 40] [--seeds 0 1 2 3 4]
"""

import argparse
import logging
import statistics
import warnings
from pathlib import Path

from anomalib.engine import Engine
from lightning.pytorch import seed_everything
from PIL import Image
from rich.console import Console
from rich.table import Table

from anomalib_clip3dad.data import Toy3D
from anomalib_clip3dad.models import Clip3dAd

METRICS = ("image_AUROC", "image_AUPR", "pixel_AUROC", "pixel_AUPRO")
RESULTS = Path("results/demo")


def run(seed: int, arguments: argparse.Namespace) -> tuple[dict[str, float], Path]:
    """Train and test once; the metrics, and the folder of the pictures."""
    seed_everything(seed, verbose=False)
    data = Toy3D(
        root=arguments.root,
        category=arguments.category,
        k_shot=arguments.k_shot,
        shot_seed=seed,
        train_batch_size=2,
    )
    model = Clip3dAd(clip_model="ViT-Ti6-16-240", pretrained="small")
    engine = Engine(default_root_dir=RESULTS, max_steps=arguments.max_steps, enable_model_summary=False)
    engine.fit(model, datamodule=data)
    metrics = engine.test(model, datamodule=data, verbose=False)[0]
    return dict(metrics), Path(engine.trainer.default_root_dir) / "images"


def overview(pictures: Path) -> Path:
    """One picture of each kind of defect below each other."""
    rows = [Image.open(next(iter(sorted(kind.glob("*.png"))))) for kind in sorted((pictures / "test").iterdir())]
    sheet = Image.new("RGB", (max(row.width for row in rows), sum(row.height for row in rows)))
    for i, row in enumerate(rows):
        sheet.paste(row, (0, sum(above.height for above in rows[:i])))
    sheet.save(pictures / "overview.png")
    return pictures / "overview.png"


def table(runs: list[dict[str, float]], title: str) -> Table:
    """The four metrics, mean and standard deviation over the runs."""
    result = Table("metric", "mean", "deviation", title=title)
    for metric in METRICS:
        values = [run[metric] for run in runs]
        deviation = f"{statistics.stdev(values):.3f}" if len(values) > 1 else "one run"
        result.add_row(metric, f"{statistics.mean(values):.3f}", deviation)
    return result


def main() -> None:
    """Run the demo."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default="datasets/Toy3D")
    parser.add_argument("--category", default="ring")
    parser.add_argument("--k_shot", type=int, default=4)
    parser.add_argument("--max_steps", type=int, default=40)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    runs, pictures = zip(*[run(seed, arguments) for seed in arguments.seeds], strict=True)
    title = f"CLIP3D-AD, {arguments.k_shot}-shot, {arguments.category}, {len(runs)} run(s)"
    console = Console()
    console.print(table(list(runs), title))
    console.print(
        "The CLIP of this demo is the small one of this package, trained briefly on made-up parts. It does best on "
        "rings, sees some defects of colour and those of the geometry alone not yet (docs/small_clip.md). Give "
        "Clip3dAd real weights for results (README, 'Real weights').",
        style="bold yellow",
    )
    # not through the console, which would break long paths into lines
    print(f"One of each kind (image, depth, mask, heat map, prediction): {overview(pictures[-1]).absolute()}")
    print(f"All pictures: {pictures[-1].absolute()}")


if __name__ == "__main__":
    main()
