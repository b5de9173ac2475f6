# SPDX-License-Identifier: Apache-2.0
"""Made-up parts to try everything on."""

from pathlib import Path

from anomalib_clip3dad.errors import InputError
from anomalib_clip3dad.toy import CATEGORIES, write_toy3d


def toy(folder: Path, category: str = "gear", good: int = 8, defects: int = 8, seed: int = 0) -> None:
    """Write made-up parts, good and faulty, in MVTec 3D-AD's layout.

    Args:
        folder: Where to; the parts go into a folder of the category's name there.
        category: Which part: biscuit, bracket, capsule, gear, knob, ring or waffle.
        good: Number of good parts to train on.
        defects: Number of faulty parts of each kind.
        seed: Of all that is random.
    """
    if category not in CATEGORIES:
        msg = f"category={category!r}: give one of {', '.join(CATEGORIES)}"
        raise InputError(msg)
    write_toy3d(
        folder, category, seed=seed, size=(240, 240), train=good, validation=4, good=10, defects=defects, progress=True
    )
    print(f"{(folder / category).absolute()}\nanomalib train --config configs/toy3d.yaml trains on its like;")
    print(f"clip3dad check {folder / category} looks at it.")
