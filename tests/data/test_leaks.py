# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest
from pandas import DataFrame

from anomalib_clip3dad.data.leaks import same_samples


def samples(*pairs: tuple[Path, Path]) -> DataFrame:
    return DataFrame([{"image_path": str(image), "depth_path": str(depth)} for image, depth in pairs])


def write(folder: Path, image: bytes, depth: bytes) -> tuple[Path, Path]:
    folder.mkdir()
    (folder / "0.png").write_bytes(image)
    (folder / "0.npy").write_bytes(depth)
    return folder / "0.png", folder / "0.npy"


@pytest.mark.parametrize(
    ("image", "depth", "is_same"),
    [(b"one", b"two", True), (b"one", b"TWO", False), (b"ONE", b"two", False), (b"one", b"longer", False)],
)
def test_both_files_have_to_hold_the_same(tmp_path: Path, image: bytes, depth: bytes, is_same: bool) -> None:
    shot, other = write(tmp_path / "good", b"one", b"two"), write(tmp_path / "new", image, depth)
    assert same_samples(samples(shot), samples(other)) == [str(other[0])] * is_same


def test_another_way_to_the_same_files(tmp_path: Path) -> None:
    shot = write(tmp_path / "good", b"one", b"two")
    (tmp_path / "link").symlink_to(tmp_path / "good")
    linked = (tmp_path / "link/0.png", tmp_path / "link/0.npy")
    assert same_samples(samples(shot), samples(linked)) == [str(linked[0])]


def test_files_that_are_not_there_are_the_same_by_name_alone(tmp_path: Path) -> None:
    """Synthetic anomalies have no files."""
    one, other = ((tmp_path / name, tmp_path / f"{name}.npy") for name in "ab")
    assert same_samples(samples(one), samples(one, other)) == [str(one[0])]
