# SPDX-License-Identifier: Apache-2.0
"""Kills a training at random moments and resumes it from its last checkpoint; it must end like one left in peace.

python studies/kill.py --kills 20
"""

import argparse
import random
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from anomalib.engine import Engine
from lightning.pytorch import Callback, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from tqdm import tqdm

from anomalib_clip3dad.data import Toy3D
from anomalib_clip3dad.models import Clip3dAd

NUMBERS = {"num_train": 4, "num_validation": 2, "num_good": 1, "num_defects": 1}
STEPS_BETWEEN = 3  # at most, from one kill to the next


class Tell(Callback):
    """Tells the parent process of each step."""

    def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
        """Write a line."""
        print("step", trainer.global_step, flush=True)


def train(folder: Path, steps: int) -> None:
    """Train the tuned model with the small CLIP; go on from the last checkpoint if there is one."""
    seed_everything(0, workers=True, verbose=False)
    data = Toy3D(folder.parent / "toy", "gear", **NUMBERS, size=(120, 160), k_shot=4, train_batch_size=2, num_workers=0)
    model = Clip3dAd("ViT-Ti-Lite0-16-240", "small", view_paint="grey", fusion="late", geometry=0.5, views=[5, 9])
    keep = ModelCheckpoint(folder, "last", every_n_train_steps=1, enable_version_counter=False)
    last = folder / "last.ckpt"
    quiet: dict[str, Any] = {
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "accelerator": "cpu",
    }
    engine = Engine(max_steps=steps, callbacks=[keep, Tell()], default_root_dir=folder, **quiet)
    engine.fit(model, datamodule=data, ckpt_path=last if last.is_file() else None)


def until(folder: Path, steps: int, kill: tuple[int, float] | None) -> int:
    """Run a training in a process of its own.

    Args:
        folder: Folder of its checkpoint.
        steps: Optimiser steps in all.
        kill: After how many steps of this run, and how many seconds, it is killed; None to let it end.

    Returns:
        The last step that was begun.
    """
    command = [sys.executable, __file__, "--train", str(folder), "--steps", str(steps)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:  # noqa: S603
        assert process.stdout is not None  # noqa: S101
        begun: list[int] = []
        for line in process.stdout:
            if line.startswith("step "):
                begun.append(int(line.split()[1]))
                if kill and len(begun) == kill[0]:
                    time.sleep(kill[1])
                    process.kill()
        if process.wait() != (-9 if kill else 0):
            sys.exit(f"{' '.join(command)}: ended with status {process.returncode}")
    return begun[-1]


def differences(one: Path, other: Path) -> list[str]:
    """Names of the weights and optimiser states that differ in any bit."""
    contents = [torch.load(folder / "last.ckpt", weights_only=True) for folder in (one, other)]
    flat = []
    for content in contents:
        (adam,) = content["optimizer_states"]
        states = {f"adam {i} {k}": v for i, state in adam["state"].items() for k, v in state.items()}
        flat.append({**content["state_dict"], **states})
    bits = [{name: value.numpy().tobytes() for name, value in each.items()} for each in flat]  # thresholds may be NaN
    return [name for name in bits[0] if bits[0][name] != bits[1][name]]


def main() -> None:
    """Train in peace, train with kills, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.train:
        train(asked.train, asked.steps)
        return
    draw = random.Random(asked.seed)  # noqa: S311
    with TemporaryDirectory() as scratch:
        peace, killed = Path(scratch) / "peace", Path(scratch) / "killed"
        began = time.perf_counter()
        until(peace, asked.steps, None)
        moments = [
            until(killed, asked.steps, (draw.randint(1, STEPS_BETWEEN), draw.uniform(0, 0.5)))
            for _ in tqdm(range(asked.kills), desc="kills", unit="kill")
        ]
        until(killed, asked.steps, None)
        wrong = differences(peace, killed)
        print(f"killed in steps {', '.join(map(str, moments))} of {asked.steps}; {time.perf_counter() - began:.0f} s")
        print(f"{len(wrong)} tensors differ from those of the training left in peace {wrong[:5] or ''}")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
