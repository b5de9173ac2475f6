# SPDX-License-Identifier: Apache-2.0
"""Toy parts to try everything on."""

from pathlib import Path

from anomalib_clip3dad.errors import InputError
from anomalib_clip3dad.toy import CATEGORIES, write_toy3d


def toy(folder: Path, category: str = "gear", good: int = 8, defects: int = 8, seed: int = 0) -> None:
    """Write toy parts, normal and anomalous, in MVTec 3D-AD's layout.

    Args:
        folder: Output folder; the parts go into a folder named after the category.
        category: Which part: biscuit, bracket, capsule, gear, knob, ring or waffle.
        good: Number of normal parts to train on.
        defects: Number of anomalous parts of each kind.
        seed: Seed of all random draws.
    """
    if category not in CATEGORIES:
        msg = f"category={category!r}: give one of {', '.join(CATEGORIES)}"
        raise InputError(msg)
    write_toy3d(
        folder, category, seed=seed, size=(240, 240), train=good, validation=4, good=10, defects=defects, progress=True
    )
    print(f"{(folder / category).absolute()}\nanomalib train --config configs/toy3d.yaml trains on parts like these;")
    print(f"clip3dad check {folder / category} checks them.")
