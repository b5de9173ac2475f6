# SPDX-License-Identifier: Apache-2.0
"""Clouds written by the libraries that own the formats, or by hand, as their descriptions say."""

import struct
from pathlib import Path

import numpy as np
import pytest
from plyfile import PlyData, PlyElement
from pypcd4 import Encoding, PointCloud

from anomalib_clip3dad.data.notes import collected
from anomalib_clip3dad.data.point_files import POINT_SUFFIXES, read_labelled_points, read_points

POINTS = np.random.default_rng(0).standard_normal((40, 3)).astype(np.float32)
COLOURS = np.random.default_rng(1).integers(0, 256, (40, 3), dtype=np.uint8)
LABELS = (np.arange(40) % 7 == 0).astype(np.int32)
HEAD = b"ply\nformat ascii 1.0\n"
PLY = {"ply text": (True, "="), "ply little endian": (False, "<"), "ply big endian": (False, ">")}
PCD = {"pcd text": Encoding.ASCII, "pcd binary": Encoding.BINARY, "pcd compressed": Encoding.BINARY_COMPRESSED}


def write_ply(path: Path, form: str, points: np.ndarray = POINTS) -> None:
    fields = [*((axis, "f4") for axis in "xyz"), *((name, "u1") for name in ("red", "green", "blue")), ("label", "i4")]
    rows = np.empty(len(points), fields)
    for name, column in zip(rows.dtype.names, [*points.T, *COLOURS.T, LABELS], strict=True):
        rows[name] = column[: len(points)]
    text, order = PLY[form]
    PlyData([PlyElement.describe(rows, "vertex")], text=text, byte_order=order).write(str(path))


def write_pcd(path: Path, form: str, points: np.ndarray = POINTS) -> None:
    red, green, blue = COLOURS.astype(np.uint32).T
    packed = (red << 16) + (green << 8) + blue
    columns = (*points.T, packed, LABELS.astype(np.uint32))
    types = (np.float32, np.float32, np.float32, np.uint32, np.uint32)
    PointCloud.from_points(columns, ("x", "y", "z", "rgba", "label"), types).save(path, encoding=PCD[form])


def write(folder: Path, form: str, points: np.ndarray = POINTS) -> Path:
    file = folder / f"a.{form.split(maxsplit=1)[0]}"
    (write_ply if form in PLY else write_pcd)(file, form, points)
    return file


@pytest.mark.parametrize("form", [*PLY, *PCD])
def test_every_form_gives_the_same_points_colours_and_labels(tmp_path: Path, form: str) -> None:
    found = read_points(write(tmp_path, form))
    np.testing.assert_allclose(found.points, POINTS, atol=1e-6)
    assert found.points.dtype == np.float32
    assert np.array_equal(found.colours, COLOURS)
    assert np.array_equal(found.labels, LABELS)
    assert found.dropped == 0


def test_packed_colours_of_float_are_the_bytes_of_the_number(tmp_path: Path) -> None:
    """Written by hand, after PCL's description of the format."""
    head = "VERSION 0.7\nFIELDS x y z rgb\nSIZE 4 4 4 4\nTYPE F F F F\nCOUNT 1 1 1 1\nWIDTH 1\nHEIGHT 1\n"
    head += "VIEWPOINT 0 0 0 1 0 0 0\nPOINTS 1\nDATA binary\n"
    (tmp_path / "a.pcd").write_bytes(head.encode() + struct.pack("<fff", 1, 2, 3) + bytes([30, 20, 10, 0]))
    found = read_points(tmp_path / "a.pcd")
    assert found.colours is not None
    assert found.colours.tolist() == [[10, 20, 30]]
    assert found.points.tolist() == [[1.0, 2.0, 3.0]]
    assert found.labels is None


def test_runs_that_repeat_are_unpacked(tmp_path: Path) -> None:
    """Equal coordinates are where LZF refers back to what it has written."""
    points = np.repeat(POINTS[:1], 5000, axis=0)
    PointCloud.from_xyz_points(points).save(tmp_path / "a.pcd", encoding=Encoding.BINARY_COMPRESSED)
    assert (tmp_path / "a.pcd").stat().st_size < 5000
    assert np.array_equal(read_points(tmp_path / "a.pcd").points, points)


@pytest.mark.parametrize("form", [*PLY, *PCD])
def test_points_that_are_not_finite_are_dropped_counted_and_told(tmp_path: Path, form: str) -> None:
    points = POINTS.copy()
    points[3, 1], points[9, 2] = np.nan, np.inf
    with collected() as notes:
        found = read_points(write(tmp_path, form, points))
    assert (len(found.points), found.dropped) == (38, 2)
    known = np.isfinite(points).all(axis=1)
    assert found.colours is not None
    assert found.labels is not None
    assert np.array_equal(found.colours, COLOURS[known])
    assert np.array_equal(found.labels, LABELS[known])
    assert [message for _, message in notes] == ["2 of 40 points are not finite, and left out"]


@pytest.mark.parametrize("form", [*PLY, *PCD])
def test_truncated_files_are_named(tmp_path: Path, form: str) -> None:
    file = write(tmp_path, form)
    content = file.read_bytes()
    for left in (content[: len(content) // 2], content[: len(content) * 9 // 10], content[:40], b""):
        file.write_bytes(left)
        with pytest.raises(ValueError, match=rf"a\.{form[:3]}: "):
            read_points(file)


@pytest.mark.parametrize("form", PCD)
def test_files_cut_between_two_points_are_named(tmp_path: Path, form: str) -> None:
    file = write(tmp_path, form)
    content = file.read_bytes()
    size = len(content.split(b"\n")[-2]) + 1 if "text" in form else 20
    file.write_bytes(content[:-size])
    with pytest.raises(ValueError, match=r"a\.pcd: "):
        read_points(file)


@pytest.mark.parametrize("form", PLY)
def test_more_points_than_said_are_named(tmp_path: Path, form: str) -> None:
    file = write(tmp_path, form)
    text = file.read_bytes()
    file.write_bytes(text.replace(b"element vertex 40", b"element vertex 39"))
    with pytest.raises(ValueError, match=r"a\.ply: holds more than its header says"):
        read_points(file)
    file.write_bytes(text.replace(b"element vertex 40", b"element vertex 41"))
    with pytest.raises(ValueError, match=r"a\.ply: unreadable point cloud"):
        read_points(file)


@pytest.mark.parametrize(("said", "wrong"), [(b"POINTS 40", b"POINTS 39"), (b"WIDTH 40", b"WIDTH 20")])
def test_counts_that_differ_are_named(tmp_path: Path, said: bytes, wrong: bytes) -> None:
    file = write(tmp_path, "pcd text")
    file.write_bytes(file.read_bytes().replace(said, wrong))
    with pytest.raises(ValueError, match=r"a\.pcd: found 40 points, but the header says POINTS"):
        read_points(file)


def test_lines_of_other_programs_are_no_points(tmp_path: Path) -> None:
    file = write(tmp_path, "ply text")
    file.write_bytes(file.read_bytes() + b"\n\n")
    assert len(read_points(file).points) == 40


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.xyz", b"1 2 3\n", r"a\.xyz: found \.xyz; points are read from \.pcd and \.ply"),
        (
            "a.ply",
            HEAD + b"element face 1\nproperty int a\nend_header\n1\n",
            "points are called vertex",
        ),
        (
            "a.ply",
            HEAD + b"element vertex 1\nproperty float x\nproperty float y\nend_header\n1 2\n",
            r"a\.ply: no z; found x, y: export the coordinates, too",
        ),
        (
            "a.ply",
            HEAD + b"element vertex 1\nproperty float x\nproperty float y\nproperty float z\n"
            b"property float red\nproperty float green\nproperty float blue\nend_header\n1 2 3 1 1 1\n",
            r"a\.ply: found colours of float32; red, green and blue of 8 bits",
        ),
        (
            "a.ply",
            HEAD + b"element vertex 1\nproperty float x\nproperty float y\nproperty float z\nend_header\n1 2 nan\n",
            r"a\.ply: none of its 1 points is finite",
        ),
        (
            "a.ply",
            HEAD + b"element vertex 99999999999\nend_header\n",
            "found 99999999999 pixels",
        ),
        ("a.pcd", b"nothing\n", r"a\.pcd: unreadable point cloud"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_points(tmp_path / name)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"a\.pcd: no such point cloud"):
        read_points(tmp_path / "a.pcd")


@pytest.mark.parametrize("separator", [" ", ","])
def test_ground_truth_with_spaces_or_commas(tmp_path: Path, separator: str) -> None:
    rows = [(*point, label) for point, label in zip(POINTS, LABELS, strict=True)]
    lines = [separator.join(f"{value:.6f}" for value in row) + "\n" for row in rows]
    (tmp_path / "a.txt").write_text("".join(lines))
    found = read_labelled_points(tmp_path / "a.txt")
    np.testing.assert_allclose(found.points, POINTS, atol=1e-6)
    assert np.array_equal(found.labels, LABELS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2 3\n", r"a\.txt: found 3 numbers a line; x, y, z and label are needed"),
        ("", r"a\.txt: found no numbers a line"),
        ("1 2 3 0\n1 2\n", r"a\.txt: unreadable ground truth of points"),
        ("1 2 x 0\n", r"a\.txt: unreadable ground truth of points"),
        ("nan 2 3 0\n", r"a\.txt: none of its 1 points is finite"),
    ],
)
def test_broken_ground_truth_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_labelled_points(tmp_path / "a.txt")


def test_all_suffixes_are_tried() -> None:
    assert {f".{form.split()[0]}" for form in (*PLY, *PCD)} == set(POINT_SUFFIXES)
