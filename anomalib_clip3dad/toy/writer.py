# SPDX-License-Identifier: Apache-2.0
"""Toy3D on disk, in the layout of MVTec 3D-AD."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tifffile
from PIL import Image
from tqdm import tqdm

from anomalib_clip3dad.errors import InputError
from anomalib_clip3dad.toy.parts import check_category
from anomalib_clip3dad.toy.pinhole import toy_camera
from anomalib_clip3dad.toy.sample import KINDS, ToySample, check_size, toy_sample

SETTINGS_FILE = "toy3d.json"
GENERATOR = 1  # increase it whenever the same settings give other images: old folders are then refused, not mixed

Settings = dict[str, int | list[int]]


class _Entry(NamedTuple):
    """One sample of the layout: SPLIT/KIND/{rgb,xyz,gt}/NUMBER."""

    split: str
    kind: str
    number: int


def write_toy3d(
    root: Path,
    category: str,
    *,
    seed: int = 0,
    size: tuple[int, int] = (240, 240),
    train: int = 8,
    validation: int = 4,
    good: int = 10,
    defects: int = 8,
    progress: bool = True,
) -> None:
    """Write one category: RGB as PNG, organised XYZ as float32 TIFF in metres, masks as PNG with 0 and 255.

    The folder appears complete or not at all: it is written next to its target and moved there at the end. A category
    that already exists with the same settings is left unchanged.

    Args:
        root: Folder of the data set; the files go to ROOT/CATEGORY/SPLIT/KIND/{rgb,xyz,gt}/NNN.{png,tiff,png}.
        category: One of ``CATEGORIES``.
        seed: Seed of the data set, >= 0; sample k of a folder does not depend on the counts.
        size: (height, width) in pixels, at least 64 each.
        train: Number of normal samples in train/good, >= 0.
        validation: Number of normal samples in validation/good, >= 0.
        good: Number of normal samples in test/good, >= 0.
        defects: Number of samples in each of test/geometry, test/colour, test/combined and test/missing, >= 0.
        progress: Show a progress bar.

    Raises:
        ValueError: If the category is unknown, a number negative or the size too small, or if ROOT/CATEGORY exists but
            was made with other settings.

    Example:
        >>> counts = {"train": 1, "validation": 0, "good": 0, "defects": 1}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_toy3d(Path(folder), "knob", size=(64, 64), progress=False, **counts)
        ...     len(list(Path(folder).glob("knob/*/*/*/000.*")))
        14
    """
    check_category(category)
    check_size(size)
    counts = {"train": train, "validation": validation, "good": good, "defects": defects}
    settings: Settings = {"generator": GENERATOR, "seed": seed, "size": [int(side) for side in size], **counts}
    _refuse_negative(settings)
    target = Path(root) / category
    if target.exists():
        _refuse_other_settings(target, settings)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{category}-unfinished-", dir=target.parent) as scratch:
        unfinished = Path(scratch) / category
        unfinished.mkdir()
        for entry in tqdm(list(_entries(counts)), desc=f"Toy3D {category}", unit="sample", disable=not progress):
            sample = toy_sample(category, entry.kind, seed, split=entry.split, index=entry.number, size=size)
            _write_sample(unfinished, entry, sample)
        camera = toy_camera(size)._asdict()
        text = json.dumps({"settings": settings, "camera": camera}, indent=2) + "\n"
        (unfinished / SETTINGS_FILE).write_text(text, encoding="utf-8")
        _move_in(unfinished, target, settings)


def _move_in(unfinished: Path, target: Path, settings: Settings) -> None:
    try:
        unfinished.rename(target)
    except OSError:
        if not target.exists():
            raise
        _refuse_other_settings(target, settings)  # another process was faster; with the same settings it wrote the same


def _entries(counts: dict[str, int]) -> Iterator[_Entry]:
    for split in ("train", "validation"):
        yield from (_Entry(split, "good", index) for index in range(counts[split]))
    for kind in KINDS:
        count = counts["good" if kind == "good" else "defects"]
        yield from (_Entry("test", kind, index) for index in range(count))


def _write_sample(folder: Path, entry: _Entry, sample: ToySample) -> None:
    place = folder / entry.split / entry.kind
    name = f"{entry.number:03d}"
    for part in ("rgb", "xyz", "gt") if entry.split == "test" else ("rgb", "xyz"):
        (place / part).mkdir(parents=True, exist_ok=True)
    Image.fromarray(sample.rgb).save(place / "rgb" / f"{name}.png")
    tifffile.imwrite(place / "xyz" / f"{name}.tiff", sample.xyz, photometric="rgb")
    if entry.split == "test":
        Image.fromarray(sample.mask.astype(np.uint8) * 255).save(place / "gt" / f"{name}.png")


def _refuse_negative(settings: Settings) -> None:
    negative = [f"{name} = {value}" for name, value in settings.items() if isinstance(value, int) and value < 0]
    if negative:
        msg = f"Toy3D needs numbers >= 0, got {', '.join(negative)}."
        raise InputError(msg)


def _refuse_other_settings(target: Path, wanted: Settings) -> None:
    advice = "delete the folder or choose another root"
    try:
        found = json.loads((target / SETTINGS_FILE).read_text(encoding="utf-8"))["settings"]
        differing = [name for name in {**wanted, **found} if wanted.get(name) != found.get(name)]
    except (OSError, ValueError, LookupError, TypeError):
        msg = f"{target} is there but holds no readable {SETTINGS_FILE}, so it is no finished Toy3D: {advice}."
        raise InputError(msg) from None
    if differing:
        details = ", ".join(f"{name} = {found.get(name)}, wanted {wanted.get(name)}" for name in differing)
        msg = f"{target} was made with other settings ({details}): {advice}."
        raise InputError(msg)
