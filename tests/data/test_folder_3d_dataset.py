# SPDX-License-Identifier: Apache-2.0
import shutil
from pathlib import Path

import pytest
from anomalib.data.utils import LabelName

from anomalib_clip3dad.data.folder_3d_dataset import list_folder, pair_files

NAMES = ("000", "a b", "x.1")


def touch(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"")


@pytest.fixture(params=["apart", "together"])
def good(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Three samples in either layout, and files that are none."""
    folder = tmp_path / "good"
    images, scans = (folder / "rgb", folder / "xyz") if request.param == "apart" else (folder, folder)
    touch(images, *(f"{name}.{suffix}" for name, suffix in zip(NAMES, ("png", "JPG", "bmp"), strict=True)))
    touch(scans, *(f"{name}.{suffix}" for name, suffix in zip(NAMES, ("tiff", "npy", "PLY"), strict=True)))
    touch(images, "._000.png", "notes.txt")
    return folder


def test_pictures_find_their_scans(good: Path) -> None:
    pairs = pair_files(good)
    assert [(image.name, scan.name) for image, scan in pairs] == [
        ("000.png", "000.tiff"),
        ("a b.JPG", "a b.npy"),
        ("x.1.bmp", "x.1.PLY"),
    ]
    assert all(path.is_file() for pair in pairs for path in pair)


def test_depth_pictures_in_a_folder_of_their_own(tmp_path: Path) -> None:
    touch(tmp_path / "rgb", "0.png")
    touch(tmp_path / "depth", "0.png")
    assert pair_files(tmp_path) == [(tmp_path / "rgb/0.png", tmp_path / "depth/0.png")]


def test_table(good: Path, tmp_path: Path) -> None:
    table = list_folder(good, LabelName.NORMAL)
    assert list(table.label_index) == [0, 0, 0]
    assert set(table.mask_path) == {""}
    touch(tmp_path / "masks", "000.png", "a b.png", "x.1.png")
    table = list_folder(good, LabelName.ABNORMAL, tmp_path / "masks")
    assert list(table.label_index) == [1, 1, 1]
    assert [Path(mask).name for mask in table.mask_path] == ["000.png", "a b.png", "x.1.png"]


@pytest.mark.parametrize("name", ["gt", "mask"])
def test_masks_are_found_inside(good: Path, name: str) -> None:
    assert set(list_folder(good, LabelName.ABNORMAL).mask_path) == {""}
    touch(good / name, "000.png", "a b.jpg", "x.1.png")
    assert list(list_folder(good, LabelName.ABNORMAL).mask_path)[1] == str(good / name / "a b.jpg")
    assert set(list_folder(good, LabelName.NORMAL).mask_path) == {""}


def test_masks_are_found_whatever_the_case(good: Path, tmp_path: Path) -> None:
    touch(tmp_path / "masks", "000.PNG", "a b.Png", "x.1.BMP")
    masks = list_folder(good, LabelName.ABNORMAL, tmp_path / "masks").mask_path
    assert [Path(mask).name for mask in masks] == ["000.PNG", "a b.Png", "x.1.BMP"]


def test_pictures_beside_a_folder_of_scans(tmp_path: Path) -> None:
    touch(tmp_path, "0.png")
    touch(tmp_path / "depth", "0.png")
    assert pair_files(tmp_path) == [(tmp_path / "0.png", tmp_path / "depth/0.png")]


def test_a_missing_mask_is_named(good: Path) -> None:
    touch(good / "gt", "000.png")
    with pytest.raises(FileNotFoundError, match=r"gt: no mask a b.*for the faulty .*a b\.JPG"):
        list_folder(good, LabelName.ABNORMAL)


def test_a_picture_without_scan_is_named(good: Path) -> None:
    pair_files(good)[1][1].unlink()
    with pytest.raises(FileNotFoundError, match=r"a b\.JPG: no 3D file of that name; add a b\{\.tiff"):
        pair_files(good)


def test_two_scans_of_one_name_are_named(good: Path) -> None:
    touch(pair_files(good)[0][1].parent, "000.npy")
    with pytest.raises(ValueError, match=r"000\.png, 000\.npy, 000\.tiff share a name"):
        pair_files(good)


def test_a_scan_without_picture_is_named(good: Path) -> None:
    touch(pair_files(good)[0][1].parent, "000.png.npy")  # another stem than 000
    with pytest.raises(FileNotFoundError, match=r"000\.png\.npy: no picture of that name"):
        pair_files(good)


def test_further_faults_are_counted(good: Path) -> None:
    for _, scan in pair_files(good)[:2]:
        scan.unlink()
    with pytest.raises(
        FileNotFoundError, match=r"000\.png: no 3D file .* \(1 more: clip3dad check .*good lists them\)"
    ):
        pair_files(good)


def test_two_pictures_of_one_name_are_named(good: Path) -> None:
    touch(pair_files(good)[0][0].parent, "000.jpg")
    with pytest.raises(ValueError, match=r"000\.jpg, 000\.png, 000\.tiff share a name"):
        pair_files(good)


def test_two_folders_of_scans_are_named(tmp_path: Path) -> None:
    for folder in ("rgb", "xyz", "depth"):
        touch(tmp_path / folder, "0.png")
    with pytest.raises(ValueError, match="found xyz, depth; keep the one"):
        pair_files(tmp_path)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder"):
        pair_files(tmp_path / "nowhere")
    with pytest.raises(
        FileNotFoundError, match=r"no picture found \(\.png, .*into rgb and 3D files into xyz, depth or"
    ):
        pair_files(tmp_path)
    touch(tmp_path / "rgb", "0.png")
    shutil.rmtree(tmp_path / "rgb")
    (tmp_path / "rgb").mkdir()
    with pytest.raises(FileNotFoundError, match="no picture found"):
        pair_files(tmp_path)
