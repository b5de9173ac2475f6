# SPDX-License-Identifier: Apache-2.0

"""A tiny data set in MVTec 3D-AD's folder layout, with real files and known numbers."""

import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from anomalib.data import AnomalibDataModule, AnomalibDataset
from jsonargparse import ArgumentParser
from PIL import Image

from anomalib_clip3dad.data import Folder3DXYZ
from tests.conftest import bumpy_part

HEIGHT, WIDTH = 24, 32


def names(dataset: AnomalibDataset) -> list[str]:
    return [Path(path).name for path in dataset.samples.image_path]


def ready(*args: object, **kwargs: object) -> Folder3DXYZ:
    data = Folder3DXYZ(*args, **kwargs)
    data.setup()
    return data


def from_command_line(arguments: list[str]) -> AnomalibDataModule:
    """Make a data module of arguments, parsed as anomalib's command does."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(AnomalibDataModule, "data", required=False, fail_untyped=False)
    return parser.instantiate_classes(parser.parse_args(arguments)).data


def write_sample(kind: Path, number: int, *, mask: bool = False) -> None:
    """Write a sample in which the image and XYZ both say which column, row and sample a pixel is of.

    Red = 5 * column and X = 0.01 * column, green = 5 * row and Y = 0.01 * row, blue = number and Z = 1 + number, every
    other pixel 1 mm more.
    The mask is the lower left quarter.
    """
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    image = np.stack([5 * columns, 5 * rows, np.full_like(rows, number)], axis=-1).astype(np.uint8)
    image[-1, -1, 2] = zlib.crc32(f"{kind.parent.name}/{kind.name}".encode()) % 256  # no two kinds share an image
    depth = 1.0 + number + 0.001 * ((rows + columns) % 2)
    xyz = np.stack([0.01 * columns, 0.01 * rows, depth], axis=-1).astype(np.float32)
    for folder in ("rgb", "xyz", "gt") if mask else ("rgb", "xyz"):
        (kind / folder).mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(kind / "rgb" / f"{number:03d}.png")
    tifffile.imwrite(kind / "xyz" / f"{number:03d}.tiff", xyz, photometric="rgb")
    if mask:
        truth = 255 * ((rows >= HEIGHT // 2) & (columns < WIDTH // 2)).astype(np.uint8)
        Image.fromarray(truth).save(kind / "gt" / f"{number:03d}.png")


def write_parts(folder: Path, count: int, first_seed: int = 0, size: tuple[int, int] = (48, 48)) -> None:
    """Write good parts that have a background plane: rgb/000.png and xyz/000.npy."""
    for name in ("rgb", "xyz"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        image, xyz = bumpy_part(*size, seed=first_seed + number)
        pixels = (255 * image).round().to(torch.uint8).permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(folder / "rgb" / f"{number:03d}.png")
        np.save(folder / "xyz" / f"{number:03d}.npy", xyz.permute(1, 2, 0).numpy())


@pytest.fixture
def mvtec_root(tmp_path: Path) -> Path:
    """ROOT with the category `bagel`: 6 train, 2 validation, 3 good test samples and 2 of each of two defects."""
    root = tmp_path / "MVTec3D"
    counts = {"train/good": 6, "validation/good": 2, "test/good": 3, "test/crack": 2, "test/hole": 2}
    for kind, count in counts.items():
        for number in range(count):
            write_sample(root / "bagel" / kind, number, mask=not kind.endswith("good"))
    return root


@pytest.fixture
def good(tmp_path: Path) -> Path:
    write_parts(tmp_path / "good", 8)
    return tmp_path / "good"


@pytest.fixture
def faulty(tmp_path: Path) -> Path:
    """Three faulty parts with masks."""
    write_parts(tmp_path / "bad", 3, first_seed=20)
    (tmp_path / "bad/gt").mkdir()
    for number in range(3):
        mask = np.zeros((48, 48), np.uint8)
        mask[20 + number : 30, 20:30] = 255
        Image.fromarray(mask).save(tmp_path / f"bad/gt/{number:03d}.png")
    return tmp_path / "bad"
