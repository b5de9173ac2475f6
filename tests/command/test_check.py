# SPDX-License-Identifier: Apache-2.0
"""Folders as people have them, whole and broken."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anomalib_clip3dad.command.check import check
from anomalib_clip3dad.command.look import look, places
from tests.data.conftest import write_parts


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    write_parts(tmp_path / "good", 4)
    return tmp_path / "good"


def test_a_good_folder(parts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(parts) == []
    printed = capsys.readouterr().out
    for words in ("48x48", "4/4", "2%", "0.46-0.54 m", "No fault found."):
        assert words in printed


def test_what_is_measured(parts: Path) -> None:
    points = [np.load(file) for file in sorted((parts / "xyz").iterdir())]
    report = look(parts, None)
    assert (report.images, report.scans, len(report.samples), report.faults) == (4, 4, 4, [])
    for sample, xyz in zip(report.samples, points, strict=True):
        measured = xyz[..., 2] > 0
        assert sample.unmeasured == pytest.approx(1 - measured.mean(), abs=1e-6)
        assert (sample.near, sample.far) == pytest.approx((xyz[measured][:, 2].min(), xyz[..., 2].max()))
        assert sample.plane
        assert 0.1 < sample.part < 0.6


def test_a_category_has_several_folders(tmp_path: Path) -> None:
    for seed, kind in enumerate(("train/good", "test/good", "test/hole")):
        write_parts(tmp_path / "tire" / kind, 1, first_seed=seed)
    (tmp_path / "tire/test/hole/gt").mkdir()
    Image.fromarray(np.eye(48, dtype=np.uint8)).save(tmp_path / "tire/test/hole/gt/000.png")
    assert places(tmp_path / "tire") == [tmp_path / "tire" / kind for kind in ("test/good", "test/hole", "train/good")]
    assert check(tmp_path / "tire") == []


def scan(folder: Path) -> Path:
    return folder / "xyz/001.npy"


def rewrite(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], object]:
    return lambda folder: np.save(scan(folder), change(np.load(scan(folder))))


def depth_alone(folder: Path) -> None:
    for file in (folder / "xyz").iterdir():
        np.save(file, np.load(file)[..., 2])


BROKEN: dict[str, tuple[Callable[[Path], object], str, int]] = {
    "no 3D file": (lambda f: scan(f).unlink(), "rgb/001.png: no 3D file of that name", 1),
    "no image": (lambda f: (f / "rgb/001.png").unlink(), "xyz/001.npy: no image of that name", 1),
    "no files": (lambda f: [p.unlink() for p in f.rglob("*.*")], "good: no image found", 1),
    "two 3D files": (lambda f: (f / "xyz/001.tiff").write_bytes(b""), "001.npy, 001.tiff share a name", 1),
    "two folders of 3D files": (lambda f: (f / "depth").mkdir(), "good: found xyz, depth; keep the one", 1),
    "truncated 3D file": (lambda f: scan(f).write_bytes(scan(f).read_bytes()[:900]), "unreadable 3D file", 1),
    "truncated image": (lambda f: (f / "rgb/001.png").write_bytes(b"\x89PNG"), "001.png: unreadable image", 1),
    "depth without camera": (depth_alone, "(4 files: 000.npy, 001.npy, 002.npy, 003.npy)", 1),
    "millimetres": (rewrite(lambda xyz: 1000 * xyz), "XYZ must be metres: millimetres / 1000", 1),
    "nothing measured": (rewrite(np.zeros_like), "no measured point", 1),
    "NaN throughout": (rewrite(lambda xyz: xyz * np.nan), "no measured point", 1),
    "behind the camera": (rewrite(lambda xyz: -xyz), "all points lie behind the camera", 1),
    "loose points": (rewrite(lambda xyz: xyz.reshape(-1, 3)), "unorganised list of points", 1),
    "channels first": (rewrite(lambda xyz: np.moveaxis(xyz, -1, 0)), "channels first", 1),
    "other size than the image": (rewrite(lambda xyz: xyz[::2]), "they must show the same pixels", 1),
    "no camera file": (lambda f: (f / "intrinsics.json").write_text("{}"), "fx, fy, cx, cy are needed", 1),
    "text": (lambda f: scan(f).write_text("1 2 3"), "001.npy: unreadable 3D file", 1),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_each_fault_is_named(parts: Path, fault: str, capsys: pytest.CaptureFixture[str]) -> None:
    spoil, words, count = BROKEN[fault]
    spoil(parts)
    faults = check(parts)
    assert len(faults) == count
    assert all(words in line for line in faults)
    assert all(line in capsys.readouterr().out for line in faults[:1])


def test_all_faults_are_listed_and_the_rest_is_read(parts: Path) -> None:
    (parts / "rgb/000.png").unlink()
    rewrite(np.zeros_like)(parts)
    report = look(parts, None)
    assert len(report.faults) == 2
    assert len(report.samples) == 2


def test_samples_of_different_sizes(parts: Path) -> None:
    Image.linear_gradient("L").resize((48, 24)).save(parts / "rgb/001.png")
    rewrite(lambda xyz: xyz[::2])(parts)
    (fault,) = check(parts)
    assert "samples of different sizes (3 of 48 x 48, 1 of 24 x 48)" in fault


def test_pictures_too_small_to_find_a_part_in(parts: Path) -> None:
    Image.new("RGB", (20, 20)).save(parts / "rgb/001.png")
    rewrite(lambda xyz: xyz[:20, :20])(parts)
    assert "20 x 20 pixels are too few" in check(parts)[0]


def test_depth_with_a_camera(parts: Path) -> None:
    depth_alone(parts)
    camera = {"fx": 120, "fy": 120, "cx": 23.5, "cy": 23.5}
    (parts.parent / "intrinsics.json").write_text(json.dumps(camera))
    assert check(parts) == []


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder"):
        check(tmp_path / "nowhere")
