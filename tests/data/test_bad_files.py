# SPDX-License-Identifier: Apache-2.0
"""Files that are damaged, of another kind or lie about their size: refused in one line, without taking memory."""

import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import OpenEXR
import pytest
import tifffile
from PIL import Image
from plyfile import PlyData, PlyElement
from pypcd4 import PointCloud

from anomalib_clip3dad.data import Intrinsics, read_sample
from anomalib_clip3dad.data.arrays import as_part
from anomalib_clip3dad.errors import InputError
from tests.data.dome import CAMERA, DEPTH, MILLIMETRES, POINTS, RGB, XYZ, millimetres
from tests.data.test_arrays import check_refused


def as_ply(path: Path, points: np.ndarray, **options: Any) -> None:
    rows = np.array([tuple(point) for point in points], [(axis, "f4") for axis in "xyz"])
    PlyData([PlyElement.describe(rows, "vertex")], **options).write(str(path))


def as_exr(path: Path, depth: np.ndarray) -> None:
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    OpenEXR.File(header, {"Z": np.ascontiguousarray(depth)}).write(str(path))


def as_pcd(path: Path, points: np.ndarray) -> None:
    PointCloud.from_xyz_points(points).save(path)


def as_png(path: Path, values: np.ndarray) -> None:
    path.write_bytes(imagecodecs.png_encode(values))


FORMATS: dict[str, tuple[str, Callable[[Path], None], Intrinsics | None]] = {
    "XYZ tiff": ("a.tiff", lambda p: tifffile.imwrite(p, XYZ, photometric="rgb"), None),
    "XYZ npy": ("a.npy", lambda p: np.save(p, XYZ), None),
    "depth png": ("a.png", lambda p: as_png(p, millimetres()), MILLIMETRES),
    "depth tiff": ("a.tif", lambda p: tifffile.imwrite(p, DEPTH, compression="zlib"), CAMERA),
    "depth exr": ("a.exr", lambda p: as_exr(p, DEPTH), CAMERA),
    "ply": ("a.ply", lambda p: as_ply(p, POINTS), CAMERA),
    "ply as text": ("a.ply", lambda p: as_ply(p, POINTS, text=True), CAMERA),
    "pcd": ("a.pcd", lambda p: as_pcd(p, POINTS), CAMERA),
}

HUGE = b"2147483648"
PLY = b"ply\nformat binary_little_endian 1.0\nelement vertex %d\nproperty float x\nproperty float y\nproperty float z\n"
PCD = b"VERSION .7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\nWIDTH %s\nHEIGHT 1\nPOINTS %s\nDATA binary\n"


def npy(shape: tuple[int, ...]) -> bytes:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}"
    text = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def two_images(path: Path) -> None:
    tifffile.imwrite(path, XYZ, photometric="rgb")
    tifffile.imwrite(path, DEPTH, append=True)


def huge_tiff(path: Path) -> None:
    tifffile.imwrite(path, np.zeros((16, 16), np.float32))
    content = bytearray(path.read_bytes())
    for tag in (256, 257):
        at = content.index(tag.to_bytes(2, "little") + (4).to_bytes(2, "little"))
        content[at + 8 : at + 12] = (46341).to_bytes(4, "little")
    path.write_bytes(content)


END = b"end_header\n" + bytes(99)
FACES = b"element face 99999999999\nproperty list uchar int i\n" + END
NO_Z = b"ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nproperty float y\nend_header\n1 2\n"

# name of the 3D file, how it is written, camera, words
BAD_FILES: dict[str, tuple[str, Callable[[Path], Any], Intrinsics | None, str]] = {
    "npy of 2^31 points": ("a.npy", lambda p: p.write_bytes(npy((46341, 46341, 3))), None, "unreadable 3D file"),
    "npy that is a zip": ("a.npy", lambda p: np.savez(p.open("wb"), a=XYZ), None, "unreadable 3D file"),
    "npy that is a pickle": ("a.npy", lambda p: np.save(p, np.array([None, 1], object)), None, "unreadable 3D file"),
    "npy of records": (
        "a.npy",
        lambda p: np.save(p, np.zeros((48, 48), [("x", "f4")])),
        None,
        "a 3D file holds numbers",
    ),
    "npy without values": ("a.npy", lambda p: np.save(p, XYZ[:0]), None, "unreadable 3D file|no measured"),
    "tiff of 2^31 pixels": ("a.tiff", huge_tiff, CAMERA, "found 715829427 pixels or points"),
    "tiff of several images": ("a.tiff", two_images, CAMERA, "found 2 images of different kinds"),
    "tiff of 8 bit": ("a.tiff", lambda p: tifffile.imwrite(p, RGB, photometric="rgb"), None, "found uint8"),
    "png of 8 bit": ("a.png", lambda p: Image.fromarray(RGB[..., 0]).save(p), CAMERA, "an image; depth needs"),
    "png of colours": ("a.png", lambda p: as_png(p, RGB.astype(np.uint16) * 257), CAMERA, "an image; depth needs"),
    "ply of 2^31 points": (
        "a.ply",
        lambda p: p.write_bytes(PLY % 2**31 + END),
        CAMERA,
        "found 2147483648 pixels or points",
    ),
    "ply of many faces": ("a.ply", lambda p: p.write_bytes(PLY % 3 + FACES), CAMERA, "found 99999999999"),
    "ply without z": ("a.ply", lambda p: p.write_bytes(NO_Z), CAMERA, "unreadable 3D file"),
    "ply without points": ("a.ply", lambda p: as_ply(p, POINTS[:0]), CAMERA, "no measured point"),
    "pcd of 2^31 points": (
        "a.pcd",
        lambda p: p.write_bytes(PCD % (HUGE, HUGE) + bytes(99)),
        CAMERA,
        "found 2147483648",
    ),
    "empty": ("a.tiff", lambda p: p.write_bytes(b""), None, "unreadable 3D file"),
    "text": ("a.ply", lambda p: p.write_text("x y z"), CAMERA, "unreadable 3D file"),
    "a folder": ("a.npy", lambda p: p.mkdir(), None, "no such 3D file"),
    "a dangling link": ("a.npy", lambda p: p.symlink_to("nowhere"), None, "no such 3D file"),
    "another suffix": ("a.stl", lambda p: p.write_text("solid"), None, r"no 3D format is known by \.stl"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_3d_files_are_refused_and_take_no_memory(tmp_path: Path, name: str) -> None:
    file, write, camera, words = BAD_FILES[name]
    Image.fromarray(RGB).save(tmp_path / "rgb.png")
    write(tmp_path / file)
    tracemalloc.start()
    try:
        check_refused(lambda: read_sample(tmp_path / "rgb.png", tmp_path / file, camera), words)
        assert tracemalloc.get_traced_memory()[1] < 2**26
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("form", FORMATS)
def test_damaged_files_end_in_one_line_or_are_read(tmp_path: Path, form: str) -> None:
    """Cut off anywhere, and bytes changed at random: nothing but an InputError, whatever the libraries raise."""
    name, write, camera = FORMATS[form]
    Image.fromarray(RGB).save(tmp_path / "rgb.png")
    write(tmp_path / name)
    read_sample(tmp_path / "rgb.png", tmp_path / name, camera)
    content = (tmp_path / name).read_bytes()
    rng = np.random.default_rng(0)
    messages = []
    for turn in range(40):
        damaged = bytearray(content[: rng.integers(len(content))] if turn % 4 == 0 else content)
        for _ in range(rng.integers(1, 9) if turn % 4 else 0):
            place = rng.integers(len(damaged) if turn % 2 else min(400, len(damaged)))
            damaged[place] = rng.integers(256)
        (tmp_path / name).write_bytes(damaged)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                read_sample(tmp_path / "rgb.png", tmp_path / name, camera)
            except InputError as error:
                messages.append(str(error))
    assert len(messages) >= 10  # all that are cut off
    assert not any("\n" in message for message in messages)


CAMERAS = {
    "nested without end": ("[" * 100_000, "no JSON"),
    "a number of 400 digits": (f'{{"fx": {"9" * 400}, "fy": 1, "cx": 1, "cy": 1}}', "fx=9+; a number is needed"),
    "infinite": ('{"fx": Infinity, "fy": 1, "cx": 1, "cy": 1}', "fx=inf; a number is needed"),
    "text": ('{"fx": "600", "fy": 1, "cx": 1, "cy": 1}', "fx='600'; a number is needed"),
    "a list": ("[600, 600, 1, 1]", "found list"),
    "a matrix": ('{"K": [[600, 0, 1], [0, 600, 1], [0, 0, 1]]}', "found K; fx, fy, cx, cy are needed"),
    "latin-1": (b'{"unit": "\xb5m"}', "no JSON"),
    "empty": ("", "no JSON"),
}


@pytest.mark.parametrize("name", CAMERAS)
def test_bad_cameras_are_refused(tmp_path: Path, name: str) -> None:
    text, words = CAMERAS[name]
    (tmp_path / "camera.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    check_refused(lambda: as_part(RGB, DEPTH, tmp_path / "camera.json"), words)


def test_a_camera_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "camera.json").write_text('\ufeff{"fx": 120, "fy": 120, "cx": 23.5, "cy": 23.5}')
    assert as_part(RGB, DEPTH, tmp_path / "camera.json").xyz.shape == (3, 48, 48)
