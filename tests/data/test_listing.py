# SPDX-License-Identifier: Apache-2.0
"""Folders as people have them: readers and `clip3dad check` say the same, one line for each cause."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from anomalib_clip3dad.command.check import check
from anomalib_clip3dad.data import Folder3DXYZ, MVTec3DXYZ, MVTec3DXYZDataset
from anomalib_clip3dad.data.listing import list_files
from anomalib_clip3dad.errors import InputError
from tests.data.conftest import write_parts
from tests.data.dome import CAMERA, DEPTH, RGB, XYZ

COUNT = 12


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    write_parts(tmp_path / "good", COUNT)
    return tmp_path / "good"


def rename(folder: str, change: Callable[[str], str]) -> Callable[[Path], None]:
    def spoil(parts: Path) -> None:
        # to another folder first, or 001 would replace 002
        files = sorted((parts / folder).iterdir())
        (parts / "aside").mkdir()
        for file in files:
            file.rename(parts / "aside" / f"{change(file.stem)}{file.suffix}")
        (parts / folder).rmdir()
        (parts / "aside").rename(parts / folder)

    return spoil


def both(*spoils: Callable[[Path], None]) -> Callable[[Path], None]:
    return lambda parts: [spoil(parts) for spoil in spoils] and None


def mask(parts: Path, name: str = "gt", count: int = COUNT, size: int = 48) -> None:
    (parts / name).mkdir()
    for number in range(count):
        Image.fromarray(np.eye(size, dtype=np.uint8)).save(parts / name / f"{number:03d}.png")


def copy(source: str, target: str) -> Callable[[Path], None]:
    return lambda parts: [p.write_bytes((parts / source).read_bytes()) for p in [parts / target]] and None


def keep(count: int, folder: str) -> Callable[[Path], None]:
    return lambda parts: [p.unlink() for p in sorted((parts / folder).iterdir())[count:]] and None


# name: what is done to the folder, words, whether it is of anomalous samples
BROKEN: dict[str, tuple[Callable[[Path], None], str]] = {
    "names end differently": (
        both(rename("rgb", "{}_color".format), rename("xyz", "{}_cloud".format)),
        r"12 images and 12 3D files have no partner, and names end in _color here and _cloud there; give the two",
    ),
    "names begin differently": (rename("rgb", "img_{}".format), "names begin with img_ here and nothing there"),
    "upper case": (both(rename("rgb", "A{}".format), rename("xyz", "a{}".format)), "upper and lower case"),
    "without zeros": (
        rename("xyz", lambda stem: str(int(stem))),
        "same numbers, written differently: 000 here, 0 there",
    ),
    "counted from 1": (
        rename("xyz", lambda stem: f"{int(stem) + 1:03d}"),
        "numbers run from 0 here and from 1 there, so that all pairs may be wrong",
    ),
    "no 3D files": (keep(0, "xyz"), r"000\.png: no 3D file of that name; .* \(12 files: 000\.png, .*\.\.\.\)"),
    "some 3D files missing": (keep(9, "xyz"), r"009\.png: no 3D file .* \(3 files: 009\.png, 010\.png, 011\.png\)"),
    "no images": (keep(0, "rgb"), "bad: no image found"),
    "a doubled image": (copy("rgb/000.png", "rgb/000.jpg"), r"000\.jpg, 000\.png, 000\.npy share a name"),
    "images of a format not read": (copy("rgb/000.png", "rgb/012.webp"), r"012\.webp: an image of this format"),
    "3D files of a format not read": (
        both(keep(11, "xyz"), copy("rgb/000.png", "xyz/011.npz")),
        r"011\.png: no 3D file of that name but 011\.npz, which is no format",
    ),
    "masks of other names": (
        both(mask, rename("gt", "{}_mask".format)),
        "and names end in nothing here and _mask there",
    ),
    "a mask missing": (lambda p: mask(p, count=11), r"011\.png: no mask 011\{\.png,"),
    "a mask too many": (lambda p: mask(p, count=13), r"012\.png: a mask without an image"),
    "two masks": (both(mask, copy("gt/000.png", "gt/000.bmp")), r"000\.bmp, 000\.png share a name; keep one mask"),
    "a folder called GT": (lambda p: mask(p, "GT"), r"GT: a folder of this name is not read; rename it to gt"),
    "a folder called masks": (
        lambda p: mask(p, "masks"),
        r"masks: a folder of this name is not read; rename it to mask",
    ),
    "a folder called XYZ": (lambda p: (p / "xyz").rename(p / "XYZ") and None, "XYZ: a folder of this name is not read"),
    "masks of another size": (lambda p: mask(p, size=40), r"has H x W = 48 x 48 but .*gt/000\.png has 40 x 40"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_readers_and_check_say_the_same(parts: Path, tmp_path: Path, name: str) -> None:
    spoil, words = BROKEN[name]
    spoil(parts)
    before = sorted(tmp_path.rglob("*"))
    anomalous = parts.rename(tmp_path / "bad")  # those named "good" need no masks
    faults = check(anomalous)
    assert any(pytest.RaisesExc(InputError, match=words).matches(InputError(fault)) for fault in faults), faults
    assert len(faults) == (2 if "XYZ" in name else 1)
    write_parts(tmp_path / "good", 5, first_seed=50)
    data = Folder3DXYZ(tmp_path / "good", abnormal_dir=anomalous, val_split_mode="none")
    with pytest.raises(InputError, match=words):
        data.setup()
    assert len(before) == len(sorted(anomalous.rglob("*"))) + 1  # nothing written


def test_what_lies_about_does_not_count(parts: Path) -> None:
    for name in ("._000.png", "Thumbs.db", "notes.txt", "desktop.ini", ".DS_Store"):
        (parts / "rgb" / name).write_bytes(b"")
    (parts / ".ipynb_checkpoints").mkdir()
    assert check(parts) == []
    assert len(Folder3DXYZ(parts)._listed(parts, 0)) == COUNT


def test_accents_written_in_two_ways_are_one(tmp_path: Path) -> None:
    for name in ("rgb/r\u00e9gion.png", "xyz/re\u0301gion.npy"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert len(list_files(tmp_path).samples) == 1


@pytest.fixture
def category(tmp_path: Path) -> Path:
    for seed, kind in enumerate(("train/good", "test/good", "test/hole", "validation/good")):
        write_parts(tmp_path / "gasket" / kind, 3, first_seed=10 * seed)
    mask(tmp_path / "gasket/test/hole", count=3)
    return tmp_path / "gasket"


@pytest.mark.parametrize("form", ["jpg", "bmp", "JPG", "tif", "depth", "points"])
def test_a_category_may_hold_all_that_a_folder_may(category: Path, form: str) -> None:
    kind = category / "test/hole"
    for number, file in enumerate(sorted((kind / "xyz").iterdir())):
        if form in {"depth", "points"}:
            (kind / form.replace("points", "cloud")).mkdir(exist_ok=True)
            scan = DEPTH + np.float32(1e-3 * number) if form == "depth" else XYZ.reshape(-1, 3)
            np.save(kind / form.replace("points", "cloud") / file.name, scan)
            file.unlink()
        else:
            Image.open(kind / f"rgb/{number:03d}.png").save(kind / f"rgb/{number:03d}.{form}")
            (kind / f"rgb/{number:03d}.png").unlink()
    if form in {"depth", "points"}:
        (kind / "xyz").rmdir()
        (category / "intrinsics.json").write_text(json.dumps(CAMERA._asdict()))
    assert check(category) == []
    items = list(MVTec3DXYZDataset(category.parent, "gasket", "test"))
    assert [int(item.gt_label) for item in items] == [0, 0, 0, 1, 1, 1]
    assert all(item.depth_map.shape == (3, 48, 48) for item in items)


def test_a_kind_without_pictures_is_an_error(category: Path) -> None:
    for file in (category / "test/hole/rgb").iterdir():
        file.unlink()
    assert any("test/hole: no image found" in fault for fault in check(category))
    with pytest.raises(InputError, match="test/hole: no image found"):
        MVTec3DXYZ(category.parent, "gasket").setup()


def test_masks_of_normal_samples_must_not_mark_anything(category: Path) -> None:
    mask(category / "test/good", count=3)
    (fault,) = check(category)
    assert "test/good/gt/000.png: marks a defect, but the sample is among the normal ones" in fault
    for file in (category / "test/good/gt").iterdir():
        Image.new("L", (48, 48)).save(file)
    assert check(category) == []


def test_one_sample_in_another_unit_is_a_fault(parts: Path) -> None:
    np.save(parts / "xyz/003.npy", 10 * np.load(parts / "xyz/003.npy"))
    (fault,) = check(parts)
    assert re.search(r"most samples are 0\.[45]\d* m away, but 1 of 12 are [45]\.?\d* m", fault)
    assert "(003.npy)" in fault


def test_samples_shared_by_train_and_test_are_noted(category: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in ("rgb", "xyz"):
        for file in (category / "train/good" / folder).iterdir():
            (category / "test/good" / folder / f"9{file.name}").write_bytes(file.read_bytes())
    assert check(category) == []
    printed = capsys.readouterr().out
    assert "note: " in printed
    assert "test/good: 3 of its samples are also in" in printed
    data = MVTec3DXYZ(category.parent, "gasket", k_shot=2)
    data.setup()
    assert len(data.test_data) == 3 + 3 - 2 + 3


def test_pictures_and_clouds_side_by_side(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "a.tif", XYZ, photometric="rgb")
    assert check(tmp_path) == []
    assert [(s.image.name, s.scan.name) for s in list_files(tmp_path).samples] == [("a.png", "a.tif")]
