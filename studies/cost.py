# SPDX-License-Identifier: Apache-2.0
"""Cost of the method's steps relative to the bare vision tower: ratios of medians of one run.

The measurements are interleaved, so that other load on the machine affects all of them alike. Run on an idle machine.

python studies/cost.py
"""

import argparse
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import torch
from anomalib.data import DepthBatch
from rich.console import Console
from rich.table import Table

from anomalib_clip3dad.callbacks import AnomalySynthesis
from anomalib_clip3dad.data import Toy3D
from anomalib_clip3dad.geometry import MultiViewRenderer, foreground_mask
from anomalib_clip3dad.models import Clip3dAd
from anomalib_clip3dad.models.frozen_cache import rows_of

SIDE = 240
_WARM_UP = 2


def plate(size: int) -> Any:
    """A batch of parts with a bump each, as a data loader gives it: SIDE x SIDE pixels, two thirds of them part."""
    line = torch.linspace(-0.5, 0.5, SIDE)
    x, y = line.expand(SIDE, SIDE), line[:, None].expand(SIDE, SIDE)
    depth = 0.5 - 0.05 * (1 - (x**2 + y**2) / 0.2).clamp(min=0).sqrt()
    xyz = torch.stack([0.4 * x * depth, 0.4 * y * depth, depth])
    return DepthBatch(
        image=torch.rand(size, 3, SIDE, SIDE),
        depth_map=xyz.expand(size, -1, -1, -1).clone(),
        gt_label=torch.zeros(size, dtype=torch.bool),
        gt_mask=torch.zeros(size, SIDE, SIDE, dtype=torch.bool),
        image_path=[f"{i}.png" for i in range(size)],
    )


def in_turns(tasks: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median seconds of each task; every round runs all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for turn in range(_WARM_UP + repeats):
        for name, task in tasks.items():
            start = time.perf_counter()
            task()
            if turn >= _WARM_UP:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def make(arguments: argparse.Namespace, views: tuple[int, ...] = (5, 9, 14, 19, 27)) -> Clip3dAd:
    """Make the model without visualizer and post-processor."""
    return Clip3dAd(
        arguments.clip_model, arguments.pretrained, "part", views=views, post_processor=False, visualizer=False
    ).eval()


class Method:
    """The steps of the method with one model, ready to be timed on one sample or one pair."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.model.log_dict = lambda *_, **__: None
        self.model.trainer = self.trainer = SimpleNamespace(
            current_epoch=0,
            global_rank=0,
            world_size=1,
            datamodule=Toy3D(),  # its shots never change
        )
        self.optimiser: Any = model.configure_optimizers()
        self.synthesis = AnomalySynthesis(seed=0)
        self.sample: Any = plate(1)
        self.foreground = foreground_mask(self.sample.depth_map)
        self.pictures = torch.rand(6, 3, SIDE, SIDE)
        pair = self.pair(0)
        cut = model.cut(pair.image, pair.depth_map, foreground_mask(pair.depth_map))
        self.mask, self.features = pair.gt_mask, model.read(cut)

    def tasks(self) -> dict[str, Callable[[], Any]]:
        """Return what is timed, by name."""
        return {
            "tower over 6 images": lambda: self.model.model.tower(self.pictures),
            "5 views rendered": self.render((5, 9, 14, 19, 27)),
            "27 views rendered": self.render(tuple(range(1, 28))),
            "heads, forward and backward, one pair": self.train_heads,
            "training step, one pair": self.train,
            "heads, one test sample": self.test_heads,
            "test sample": self.test,
        }

    def render(self, views: tuple[int, ...]) -> Callable[[], Any]:
        """Render the views of one sample."""
        renderer = MultiViewRenderer(views, SIDE)
        return lambda: renderer(self.sample.image, self.sample.depth_map, self.foreground)

    def pair(self, step: int) -> Any:
        """A normal and an anomalous part, as the callback leaves the batch."""
        pair = plate(1)
        self.synthesis.on_train_batch_start(self.trainer, self.model, pair, step)  # type: ignore[arg-type]
        return pair

    def descend(self, loss: torch.Tensor) -> None:
        """Do one step of the optimiser."""
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()

    def train_heads(self) -> None:
        """Train the heads alone, on cached features."""
        self.descend(self.model.train().losses(self.features, self.mask)["train_loss"])

    def train(self) -> None:
        """Do a full training step with cached shots: synthesis, rendering, tower, heads."""
        self.descend(self.model.train().training_step(self.pair(1), 0))

    @torch.inference_mode()
    def test_heads(self) -> None:
        """Run the heads alone."""
        self.model.eval().model.compare(rows_of(self.features, [0]))

    @torch.inference_mode()
    def test(self) -> None:
        """Run the model from image and cloud to score and map."""
        self.model.eval()(self.sample.image, self.sample.depth_map)


def parts(arguments: argparse.Namespace) -> Table:
    """Time rendering, a training step and a test sample against the bare tower over 6 images."""
    times = in_turns(Method(make(arguments)).tasks(), arguments.repeats)
    tower, five, all_views, train_heads, train, test_heads, test = times.values()
    ratios = {
        "5 views rendered / tower": (five / tower, 0.03),
        "27 views rendered / tower": (all_views / tower, 0.10),
        "training step / (tower + heads)": (train / (tower + train_heads), 1.10),
        "test sample / (tower + heads)": (test / (tower + test_heads), 1.10),
        "test sample / tower": (test / tower, 1.25),
    }
    table = Table("task", "median s or ratio", "at most", title=f"{arguments.clip_model}, {arguments.threads} threads")
    for name, seconds in times.items():
        table.add_row(name, f"{seconds:.4f}", "")
    for name, (ratio, most) in ratios.items():
        table.add_row(name, f"{ratio:.3f}", f"{most:.2f}")
    return table


def imports(arguments: argparse.Namespace) -> Table:
    """Time what importing this package adds to importing anomalib."""

    def once(statement: str) -> Callable[[], Any]:
        return lambda: subprocess.run([sys.executable, "-W", "ignore", "-c", statement], check=True)  # noqa: S603

    times = in_turns(
        {
            "anomalib": once("import anomalib"),
            "anomalib, anomalib_clip3dad": once("import anomalib, anomalib_clip3dad"),
            "anomalib.models": once("import anomalib.models"),
            "anomalib_clip3dad.models": once("import anomalib_clip3dad, anomalib.models"),
        },
        arguments.repeats,
    )
    table = Table("import", "median s", title="New interpreters")
    for name, seconds in times.items():
        table.add_row(name, f"{seconds:.3f}")
    return table


_SCALING = """
import resource, sys, time, torch
sys.path.insert(0, {folder!r})
from cost import make, parse, plate
arguments = parse({command!r})
torch.set_num_threads(arguments.threads)
model, batch = make(arguments, tuple(range(1, {views} + 1))), plate({batch})
with torch.inference_mode():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = []
    for _ in range(4):
        start = time.perf_counter()
        model(batch.image, batch.depth_map)
        seconds.append(time.perf_counter() - start)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(sorted(seconds[1:])[1], (peak - before) / 1024)
"""


def scaling(command: list[str]) -> Table:
    """Seconds per sample and memory for more views and larger batches, each in a new interpreter."""
    table = Table("views", "batch", "s per sample", "s per image", "MiB above the model", title="Scaling")
    for views in (0, 1, 5, 27):
        for batch in (1, 4, 16):
            code = _SCALING.format(folder=sys.path[0], command=command, views=views, batch=batch)
            run = [sys.executable, "-W", "ignore", "-c", code]
            output = subprocess.run(run, check=True, capture_output=True, text=True).stdout  # noqa: S603
            seconds, memory = map(float, output.split()[-2:])
            per_sample = seconds / batch
            table.add_row(
                str(views), str(batch), f"{per_sample:.3f}", f"{per_sample / (1 + views):.4f}", f"{memory:.0f}"
            )
    return table


def parse(command: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--only", nargs="+", choices=("parts", "imports", "scaling"), default=["parts", "imports", "scaling"])
    add("--clip_model", default="ViT-B-16-plus-240", help="times do not depend on the weights")
    add("--pretrained", help="default: random")
    add("--repeats", type=int, default=5)
    add("--threads", type=int, default=2)
    return parser.parse_args(command)


def main() -> None:
    """Run the measurements of --only."""
    arguments = parse(sys.argv[1:])
    warnings.filterwarnings("ignore")
    torch.set_num_threads(arguments.threads)
    console = Console(width=None if sys.stdout.isatty() else 120)
    tables = {
        "parts": lambda: parts(arguments),
        "imports": lambda: imports(arguments),
        "scaling": lambda: scaling(sys.argv[1:]),
    }
    for name in arguments.only:
        console.print(tables[name]())


if __name__ == "__main__":
    main()
