# SPDX-License-Identifier: Apache-2.0
"""One part in every accepted form, written by the libraries that own the formats."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import OpenEXR
import pytest
import tifffile
from PIL import Image
from plyfile import PlyData, PlyElement
from pypcd4 import PointCloud

from anomalib_clip3dad.data.intrinsics import Intrinsics, unproject
from anomalib_clip3dad.data.reading import read_organised
from anomalib_clip3dad.data.scans import SCAN_SUFFIXES, load_scan

CAMERA = Intrinsics(fx=80.0, fy=80.0, cx=15.5, cy=11.5)
SIZE = (24, 32)


def truth() -> np.ndarray:
    """(H, W, 3) float32 in metres, a fifth of it not measured."""
    rng = np.random.default_rng(0)
    depth = rng.uniform(0.4, 0.6, SIZE)
    depth[rng.random(SIZE) < 0.2] = 0
    return unproject(depth, CAMERA).astype(np.float32)


def write_exr(path: Path, depth: np.ndarray, name: str = "Z") -> None:
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    OpenEXR.File(header, {name: depth}).write(str(path))


def write_ply(path: Path, points: np.ndarray, text: bool) -> None:
    rows = np.array([(*row, 7) for row in points.tolist()], dtype=[*((axis, "f4") for axis in "xyz"), ("red", "u1")])
    PlyData([PlyElement.describe(rows, "vertex")], text=text).write(str(path))


def write_pcd(path: Path, xyz: np.ndarray, organised: bool) -> None:
    cloud = PointCloud.from_xyz_points(xyz.reshape(-1, 3))
    if organised:
        cloud.metadata.height, cloud.metadata.width = xyz.shape[:2]
    cloud.save(path)


def measured(xyz: np.ndarray) -> np.ndarray:
    return xyz[xyz[..., 2] > 0]


METRES = CAMERA
TENTHS = CAMERA._replace(depth_scale=0.1, unit="mm")  # a depth map counts tenths of millimetres
FORMS: dict[str, tuple[str, Callable[[Path, np.ndarray], None], Intrinsics | None]] = {
    "XYZ tiff": ("a.tiff", lambda p, x: tifffile.imwrite(p, x, photometric="rgb"), None),
    "XYZ npy": ("a.npy", np.save, None),
    "XYZ npy of float64": ("a.npy", lambda p, x: np.save(p, x.astype(float)), None),
    "XYZ npy in millimetres": ("a.npy", lambda p, x: np.save(p, 1000 * x), CAMERA._replace(unit="mm")),
    "depth tiff": ("a.TIF", lambda p, x: tifffile.imwrite(p, x[..., 2]), METRES),
    "depth npy": ("a.npy", lambda p, x: np.save(p, x[..., 2:]), METRES),
    "depth npy of NaN": ("a.npy", lambda p, x: np.save(p, np.where(x[..., 2] > 0, x[..., 2], np.nan)), METRES),
    "depth exr": ("a.exr", lambda p, x: write_exr(p, x[..., 2].copy()), METRES),
    "depth exr, three times": ("a.exr", lambda p, x: write_exr(p, x[..., [2, 2, 2]].copy(), "RGB"), METRES),
    "depth exr, three times, NaN": (
        "a.exr",
        lambda p, x: write_exr(p, np.where(x[..., 2:] > 0, x[..., 2:], np.float32(np.nan)).repeat(3, axis=2), "RGB"),
        METRES,
    ),
    "depth png": (
        "a.png",
        lambda p, x: Image.fromarray(np.rint(1e4 * x[..., 2]).astype(np.uint16)).save(p),
        TENTHS,
    ),
    "ply": ("a.ply", lambda p, x: write_ply(p, measured(x)[::-1], text=False), METRES),
    "ply as text": ("a.ply", lambda p, x: write_ply(p, measured(x), text=True), METRES),
    "pcd": ("a.pcd", lambda p, x: write_pcd(p, measured(x), organised=False), METRES),
    "organised pcd": ("a.pcd", lambda p, x: write_pcd(p, x, organised=True), None),
    "points npy": ("a.npy", lambda p, x: np.save(p, measured(x)), METRES),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_cloud(tmp_path: Path, form: str) -> None:
    name, write, camera = FORMS[form]
    write(tmp_path / name, truth())
    found = read_organised(tmp_path / name, camera, SIZE).numpy()
    np.testing.assert_allclose(np.moveaxis(found, 0, -1), truth(), atol=1e-4 if "png" in form else 1e-6)


def test_all_suffixes_are_tried() -> None:
    assert {Path(name).suffix.lower() for name, _, _ in FORMS.values()} == set(SCAN_SUFFIXES)


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("a.xyz", lambda p: p.write_text("1 2 3"), r"a\.xyz: no 3D format is known by \.xyz; known are \.tiff"),
        ("a", lambda p: p.write_text("1 2 3"), "a: no 3D format is known by no suffix"),
        ("a.png", lambda p: Image.new("RGB", (4, 4)).save(p), r"a\.png: found uint8 \(4, 4, 3\), an image"),
        ("a.png", lambda p: Image.new("L", (4, 4)).save(p), r"a\.png: found uint8 \(4, 4\), an image"),
        ("a.exr", lambda p: write_exr(p, truth(), "RGB"), r"a\.exr: found different values in 3 channels"),
        ("a.npy", lambda p: np.save(p, np.array(["x"])), r"a\.npy: found <U1; a 3D file holds numbers"),
        ("a.npy", lambda p: np.save(p, np.array([None]), allow_pickle=True), r"a\.npy: unreadable 3D file"),
        ("a.ply", lambda p: p.write_text("ply\nformat ascii 1.0\nend_header\n"), r"a\.ply: unreadable 3D file"),
        ("a.pcd", lambda p: p.write_text("VERSION 0.7\n"), r"a\.pcd: unreadable 3D file"),
        ("a.exr", lambda p: p.write_text("nothing"), r"a\.exr: unreadable 3D file"),
        (
            "a.tiff",
            lambda p: tifffile.imwrite(p, truth()[..., 2] * 1e3),
            r"over 5\d\d m away; set depth_scale and unit",
        ),
        ("a.ply", lambda p: write_ply(p, truth()[:0, 0], text=True), r"a\.ply: no measured point"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, name: str, write: Callable[[Path], None], message: str) -> None:
    write(tmp_path / name)
    with pytest.raises(ValueError, match=message):
        read_organised(tmp_path / name, METRES, SIZE)


def test_points_without_the_size_of_their_image_ask_for_it(tmp_path: Path) -> None:
    write_ply(tmp_path / "a.ply", measured(truth()), text=False)
    with pytest.raises(ValueError, match=r"a\.ply: found points .* the size of the image that sees them is needed"):
        read_organised(tmp_path / "a.ply", METRES)


def test_depth_without_a_camera_asks_for_one(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", truth()[..., 2])
    with pytest.raises(ValueError, match=r"one-channel depth \(24, 32\).* give the camera's intrinsics"):
        read_organised(tmp_path / "a.npy", None, SIZE)


def test_more_channels_of_an_exr_are_named(tmp_path: Path) -> None:
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    channels = {name: np.ones(SIZE, np.float32) for name in ("Z", "W")}
    OpenEXR.File(header, channels).write(str(tmp_path / "a.exr"))
    with pytest.raises(ValueError, match=r"found the channels .*; depth needs a single one"):
        load_scan(tmp_path / "a.exr")
