# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from anomalib_clip3dad.toy import KINDS, toy_sample, write_toy3d, writer

SMALL = {"size": (64, 72), "train": 2, "validation": 1, "good": 1, "defects": 1, "progress": False}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("toy")
    write_toy3d(root, "bracket", seed=3, **SMALL)
    return root


def _files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_layout_is_that_of_mvtec_3d(root: Path) -> None:
    expected = {"toy3d.json"}
    for folder, count in {"train/good": 2, "validation/good": 1}.items():
        expected |= {f"{folder}/rgb/{i:03d}.png" for i in range(count)}
        expected |= {f"{folder}/xyz/{i:03d}.tiff" for i in range(count)}
    for kind in ("good", "geometry", "colour", "combined", "missing"):
        expected |= {f"test/{kind}/rgb/000.png", f"test/{kind}/xyz/000.tiff", f"test/{kind}/gt/000.png"}
    assert set(_files(root / "bracket")) == expected
    assert [path.name for path in root.iterdir()] == ["bracket"]


def test_files_hold_the_sample(root: Path) -> None:
    for split, kind, index in [("train", "good", 1), *(("test", kind, 0) for kind in KINDS)]:
        folder, name = root / "bracket" / split / kind, f"{index:03d}"
        sample = toy_sample("bracket", kind, 3, split=split, index=index, size=(64, 72))
        rgb, xyz = Image.open(folder / "rgb" / f"{name}.png"), tifffile.imread(folder / "xyz" / f"{name}.tiff")
        assert (rgb.mode, xyz.dtype.name, xyz.shape) == ("RGB", "float32", (64, 72, 3)), kind
        np.testing.assert_array_equal(np.asarray(rgb), sample.rgb, kind)
        np.testing.assert_array_equal(xyz, sample.xyz, kind)
        assert sample.mask.any() == (kind != "good"), kind
        if split == "test":
            gt = Image.open(folder / "gt" / f"{name}.png")
            assert gt.mode == "L"
            np.testing.assert_array_equal(np.asarray(gt), np.where(sample.mask, 255, 0), kind)


def test_other_counts_keep_the_samples(root: Path, tmp_path: Path) -> None:
    write_toy3d(tmp_path, "bracket", seed=3, **{**SMALL, "train": 1, "validation": 2, "defects": 0})
    one, other = _files(root / "bracket"), _files(tmp_path / "bracket")
    common = (set(one) & set(other)) - {"toy3d.json"}
    assert len(common) == 2 + 2 + 3
    assert all(one[name] == other[name] for name in common)


def test_settings_and_camera_are_noted(root: Path) -> None:
    note = json.loads((root / "bracket" / "toy3d.json").read_text())
    assert note["settings"] == {
        "generator": writer.GENERATOR,
        "seed": 3,
        "size": [64, 72],
        "train": 2,
        "validation": 1,
        "good": 1,
        "defects": 1,
    }
    assert note["camera"]["cx"] == 35.5


def test_finished_category_is_left_alone(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "toy_sample", _fail)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    write_toy3d(root, "bracket", seed=3, **SMALL)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_other_settings_are_refused(root: Path) -> None:
    with pytest.raises(ValueError, match=r"seed = 3, wanted 4, train = 2, wanted 5\): delete the folder or choose"):
        write_toy3d(root, "bracket", seed=4, **{**SMALL, "train": 5})


def test_foreign_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "gear").mkdir()
    for note in (None, "{", "[]", "{}", '{"settings": 1}'):
        if note is not None:
            (tmp_path / "gear" / "toy3d.json").write_text(note)
        with pytest.raises(ValueError, match=r"no readable toy3d\.json.*delete the folder"):
            write_toy3d(tmp_path, "gear", **SMALL)


def test_interrupted_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def interrupted(*arguments: object, **settings: object) -> object:
        if made:
            raise KeyboardInterrupt
        made.append(toy_sample(*arguments, **settings))
        assert list(tmp_path.iterdir()), "nothing was begun"
        return made[-1]

    monkeypatch.setattr(writer, "toy_sample", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_toy3d(tmp_path, "gear", **SMALL)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("faster", ["the same", "another"])
def test_two_writers_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faster: str) -> None:
    few = {**SMALL, "train": 1, "validation": 0, "good": 0, "defects": 0}

    def overtaken(*arguments: object, **settings: object) -> object:
        monkeypatch.setattr(writer, "toy_sample", toy_sample)
        write_toy3d(tmp_path, "gear", **(few if faster == "the same" else {**few, "seed": 9}))
        return toy_sample(*arguments, **settings)

    monkeypatch.setattr(writer, "toy_sample", overtaken)
    if faster == "the same":
        write_toy3d(tmp_path, "gear", **few)
    else:
        with pytest.raises(ValueError, match="seed = 9, wanted 0"):
            write_toy3d(tmp_path, "gear", **few)
    assert [path.name for path in tmp_path.iterdir()] == ["gear"]


def test_wrong_arguments_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no category"):
        write_toy3d(tmp_path, "bagel", **SMALL)
    with pytest.raises(ValueError, match="at least 64"):
        write_toy3d(tmp_path, "gear", **{**SMALL, "size": (32, 240)})
    with pytest.raises(ValueError, match="train = -1"):
        write_toy3d(tmp_path, "gear", **{**SMALL, "train": -1})
    assert list(tmp_path.iterdir()) == []


def _fail(*_: object, **__: object) -> object:
    pytest.fail("a sample was made although the category was there")
