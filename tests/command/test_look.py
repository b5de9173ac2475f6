# SPDX-License-Identifier: Apache-2.0
"""What is found of a sample and a folder; the messages of every fault stand in test_check."""

import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from anomalib.data.utils import Split
from PIL import Image

from anomalib_clip3dad.command.look import Files, Sample, eyecandies_splits, look, measure, places
from anomalib_clip3dad.data import read_sample
from tests.data.conftest import write_parts


def files_of(folder: Path, mask: Path | None = None, normal: bool = False) -> Files:
    image, scan = folder / "rgb/000.png", folder / "xyz/000.npy"
    return Files(image, scan, mask, partial(read_sample, image, scan), normal)


def test_places_of_every_layout(tmp_path: Path) -> None:
    bagel = tmp_path / "mvtec/bagel"
    kinds = [bagel / kind for kind in ("test/crack", "test/good", "test/hole", "train/good", "validation/good")]
    for kind in kinds:
        write_parts(kind, 1)
    assert places(bagel) == kinds
    assert places(tmp_path / "mvtec") == kinds
    write_parts(tmp_path / "lines/1", 1)
    write_parts(tmp_path / "lines/2", 1)
    assert places(tmp_path / "lines") == [tmp_path / "lines/1", tmp_path / "lines/2"]
    assert places(tmp_path / "lines/1") == [tmp_path / "lines/1"]


def test_splits_of_eyecandies(tmp_path: Path) -> None:
    assert eyecandies_splits(tmp_path) == []
    for folder in ("train/data", "test_public/data"):
        (tmp_path / folder).mkdir(parents=True)
    assert eyecandies_splits(tmp_path) == []
    (tmp_path / "train/data/00_depth.png").touch()
    assert set(eyecandies_splits(tmp_path)) == {Split.TRAIN, Split.TEST}


def test_a_sample_is_measured(tmp_path: Path) -> None:
    write_parts(tmp_path, 1)
    cloud = np.load(tmp_path / "xyz/000.npy")
    cloud[:4] = 0
    np.save(tmp_path / "xyz/000.npy", cloud)
    found = measure(files_of(tmp_path))
    assert isinstance(found, Sample)
    depths = cloud[..., 2][cloud[..., 2] > 0]
    assert found.size == (48, 48)
    assert found.unmeasured == pytest.approx(1 - depths.size / 48**2)
    assert (found.near, found.far) == pytest.approx((depths.min(), depths.max()))
    assert found.depth == pytest.approx(np.sort(depths)[(depths.size - 1) // 2])
    assert found.plane
    # the bump has a radius of 0.3 of the image's side
    assert found.part == pytest.approx(np.pi * 0.3**2, rel=0.25)


def test_a_normal_sample_marks_nothing(tmp_path: Path) -> None:
    write_parts(tmp_path, 1)
    mask = np.zeros((48, 48), np.uint8)
    Image.fromarray(mask).save(tmp_path / "mask.png")
    assert isinstance(measure(files_of(tmp_path, tmp_path / "mask.png", normal=True)), Sample)
    mask[20:30, 20:30] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    assert isinstance(measure(files_of(tmp_path, tmp_path / "mask.png")), Sample)
    name, message = measure(files_of(tmp_path, tmp_path / "mask.png", normal=True))
    assert name == str(tmp_path / "mask.png")
    assert message.startswith("marks a defect, but the sample is among the normal ones")


def test_samples_of_another_unit_and_size_are_named(tmp_path: Path) -> None:
    write_parts(tmp_path, 4)
    assert look(tmp_path, None).faults == []
    np.save(tmp_path / "xyz/003.npy", 4 * np.load(tmp_path / "xyz/003.npy"))
    (line,) = look(tmp_path, None).faults
    assert "most samples are 0.4" in line or "most samples are 0.5" in line
    assert "but 1 of 4 are" in line
    assert "(003.npy)" in line
    write_parts(tmp_path / "small", 1, size=(40, 48))
    for folder in ("rgb", "xyz"):
        for file in (tmp_path / "small" / folder).iterdir():
            shutil.copy(file, tmp_path / folder / file.name.replace("000", "003"))
    (line,) = look(tmp_path, None).faults
    assert "samples of different sizes (3 of 48 x 48, 1 of 40 x 48); export all at one resolution" in line
