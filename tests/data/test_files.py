# SPDX-License-Identifier: Apache-2.0
"""Reading without torch; what is read wrongly elsewhere stands in test_reading and test_bad_files."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from anomalib_clip3dad.data.files import as_rgb, check_same_size, image_size, organised_points, read_arrays, read_file
from anomalib_clip3dad.errors import InputError

from .dome import CAMERA, DEPTH, MILLIMETRES, POINTS, RGB, XYZ, millimetres


def test_a_sample_as_arrays(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.png")
    np.save(tmp_path / "a.npy", XYZ)
    image, xyz = read_arrays(tmp_path / "a.png", tmp_path / "a.npy")
    assert np.array_equal(image, np.float32(np.moveaxis(RGB, -1, 0)) / np.float32(255))
    assert np.array_equal(xyz, np.moveaxis(XYZ, -1, 0))


def test_grey_is_three_times_the_same() -> None:
    grey = np.arange(6.0).reshape(2, 3, 1)
    found = as_rgb(grey)
    assert found.shape == (3, 2, 3)
    assert all(np.array_equal(channel, grey[..., 0]) for channel in found)


@pytest.mark.parametrize("form", ["depth", "depth with a channel", "millimetres", "points", "organised"])
def test_every_form_of_a_scan_is_the_same_cloud(form: str) -> None:
    scan, camera = {
        "depth": (DEPTH, CAMERA),
        "depth with a channel": (DEPTH[..., None], CAMERA),
        "millimetres": (millimetres(), MILLIMETRES),
        "points": (POINTS[::-1], CAMERA),
        "organised": (XYZ.astype(np.float64), None),
    }[form]
    found = organised_points("a", scan, camera, RGB.shape[:2])
    assert found.dtype == np.float32
    assert np.abs(found - np.moveaxis(XYZ, -1, 0)).max() < (6e-4 if form == "millimetres" else 1e-6)


def test_the_size_is_read_from_the_header_alone(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((300, 200, 3), np.uint8)).save(tmp_path / "a.png")
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(whole[:64])
    assert image_size(tmp_path / "a.png") == (300, 200)
    tifffile.imwrite(tmp_path / "a.tiff", np.zeros((30, 20, 3), np.float32), photometric="rgb")
    assert image_size(tmp_path / "a.tiff") == (30, 20)


def test_other_sizes_name_both_files() -> None:
    check_same_size("a.png", RGB[None, ..., 0], "a.npy", XYZ[None, ..., 0])
    with pytest.raises(InputError, match=r"a\.png has H x W = 48 x 48 but a\.npy has 47 x 48; .*one resolution"):
        check_same_size("a.png", RGB[None, ..., 0], "a.npy", XYZ[None, 1:, :, 0])


def test_whatever_a_reader_raises_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "a.bin"
    file.touch()

    def fails(_: object) -> None:
        raise ZeroDivisionError("first\nsecond")

    with pytest.raises(InputError, match=r"a\.bin: unreadable scan \(first second\); it is truncated"):
        read_file(file, fails, "scan")
    with pytest.raises(FileNotFoundError, match=r"b\.bin: no such scan"):
        read_file(tmp_path / "b.bin", fails, "scan")
