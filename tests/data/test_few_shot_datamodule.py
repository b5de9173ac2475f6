# SPDX-License-Identifier: Apache-2.0
"""What few shots mean for the splits, on folders of one's own."""

import shutil
from pathlib import Path

import pytest
from PIL import Image

from tests.data.conftest import names, ready


@pytest.mark.parametrize("ratio", [0.1, 0.5, 1.0])
def test_good_test_parts_are_taken_beyond_the_shots(good: Path, faulty: Path, ratio: float) -> None:
    data = ready(good, abnormal_dir=faulty, test_split_ratio=ratio)
    tested = {Path(path).name for path in data.test_data.samples.image_path if "/good/" in path}
    assert len(tested) == {0.1: 1, 0.5: 2, 1.0: 3}[ratio]
    assert len({*tested, *names(data.train_data), *names(data.val_data)}) == 8


def test_a_single_good_part_left_sets_the_threshold(good: Path, faulty: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = ready(good, abnormal_dir=faulty, k_shot=7)
    assert not data.test_data.has_normal
    assert len(data.val_data) == 2
    assert "the only good part left sets the threshold" in caplog.text


@pytest.mark.parametrize("val", ["synthetic", "from_train", "none"])
@pytest.mark.parametrize("test", ["synthetic", "none"])
@pytest.mark.parametrize("k_shot", [4, None])
def test_no_part_serves_two_purposes(good: Path, val: str, test: str, k_shot: int | None) -> None:
    """Also not after a second setup, which anomalib makes after one by hand."""
    data = ready(good, k_shot=k_shot, val_split_mode=val, test_split_mode=test)
    for _ in range(2):
        splits = [set(names(data.train_data)), set(names(data.test_data))]
        splits += [set(names(data.val_data))] if val != "none" else []
        assert sum(map(len, splits)) == len(set.union(*splits))
        assert splits[0]
        assert bool(splits[1]) == (test == "synthetic")
        data.setup()


@pytest.mark.parametrize("copied", [False, True])
def test_shots_are_left_out_of_the_test(
    good: Path, tmp_path: Path, copied: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The same folder, or other files with the same content."""
    tested = tmp_path / "copy" if copied else good
    if copied:
        shutil.copytree(good, tested)
        for folder in ("rgb", "xyz"):
            for file in (tested / folder).iterdir():
                file.rename(file.with_stem(f"part {file.stem}"))
    data = ready(good, normal_test_dir=tested)
    stems = [
        {Path(name).stem.removeprefix("part ") for name in names(split)} for split in (data.train_data, data.test_data)
    ]
    assert len(stems[0]) == len(stems[1]) == 4
    assert not stems[0] & stems[1]
    assert "4 of 8 test samples are training samples, and left out of it" in caplog.text
    assert "4 test samples set the threshold, too" in caplog.text
    data.setup()  # as a trainer does once more
    assert len(data.test_data) == 4


def test_shots_are_known_by_what_their_files_hold(good: Path, tmp_path: Path) -> None:
    data = ready(good, k_shot=4)
    assert len(set(data.training_digests)) == 4
    shutil.copytree(good, tmp_path / "copy")
    again = ready(tmp_path / "copy", k_shot=4)
    assert again.training_digests == data.training_digests
    scan = next((tmp_path / "copy/xyz").glob(Path(again.train_data.samples.depth_path[0]).name))
    scan.write_bytes(scan.read_bytes()[:-1] + b"\0")
    assert again.training_digests[1:] == data.training_digests[1:]
    assert again.training_digests[0] != data.training_digests[0]


def test_nothing_but_shots_to_test_on_is_an_error(good: Path) -> None:
    with pytest.raises(ValueError, match=r"good: all 8 test samples are trained on; add others"):
        ready(good, normal_test_dir=good, k_shot=8, val_split_mode="none")


def test_masks_are_opened_before_the_training(good: Path, faulty: Path) -> None:
    Image.new("L", (48, 48), 255).save(faulty / "gt/001.png")
    with pytest.raises(ValueError, match=r"gt/001\.png: .*marks 100% of the image and all of its rim"):
        ready(good, abnormal_dir=faulty)
