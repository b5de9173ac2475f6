# SPDX-License-Identifier: Apache-2.0
import shutil
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anomalib_clip3dad.command.check import check
from anomalib_clip3dad.data import Eyecandies
from tests.data.conftest import from_command_line

SIZE = 64
LOW, HIGH = 3.2, 5.1


def write(folder: Path, stem: str, mask: bool | None) -> None:
    """A depth that rises from the left to the right, six images with a dark corner, and a mask."""
    folder.mkdir(parents=True, exist_ok=True)
    depth = np.linspace(0, 65535, SIZE * SIZE).reshape(SIZE, SIZE).T
    Image.fromarray(depth.astype(np.uint16)).save(folder / f"{stem}_depth.png")
    (folder / f"{stem}_info_depth.yaml").write_text(f"normalization:\n  min: {LOW}\n  max: {HIGH}\n")
    for light in range(6):
        picture = np.full((SIZE, SIZE, 3), 40 * light + 20, np.uint8)
        picture[:20, :20] = zlib.crc32(f"{folder.parent.name}{stem}".encode()) % 97
        Image.fromarray(picture).save(folder / f"{stem}_image_{light}.png")
    if mask is not None:
        marked = np.zeros((SIZE, SIZE), np.uint8)
        marked[10:20, 5:9] = 255 * mask
        Image.fromarray(marked).save(folder / f"{stem}_mask.png")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number in range(3):
        write(tmp_path / "Lollipop/train/data", f"{number:03d}", None)
    write(tmp_path / "Lollipop/val/data", "000", mask=False)
    write(tmp_path / "Lollipop/test_public/data", "00", mask=False)
    write(tmp_path / "Lollipop/test_public/data", "01", mask=True)
    return tmp_path


def ready(root: Path, **kwargs: object) -> Eyecandies:
    data = Eyecandies(root, "Lollipop", **kwargs)
    data.setup()
    return data


def test_splits_and_labels(root: Path) -> None:
    data = ready(root, k_shot=2)
    assert (len(data.train_data), len(data.val_data), len(data.test_data)) == (2, 1, 2)
    good, faulty = data.test_data
    assert (int(good.gt_label), int(faulty.gt_label)) == (0, 1)
    assert not good.gt_mask.any()
    assert faulty.gt_mask.sum() == 40
    assert all(name.startswith("train/data/") for name in data.training_files)


def test_the_cloud_is_the_pinhole_formula(root: Path) -> None:
    """Published: focal length 711.11 at 512 pixels, principal point in the middle, depth between the file's limits."""
    xyz = ready(root).train_data[0].depth_map
    raw = np.asarray(Image.open(root / "Lollipop/train/data/000_depth.png")).astype(float)
    for row, column in ((0, 0), (5, 40), (63, 63), (32, 32)):
        z = 0.1 * (LOW + (HIGH - LOW) * raw[row, column] / 65535)
        focal = 711.11 * SIZE / 512
        expected = [(column - 32) * z / focal, (row - 32) * z / focal, z]
        np.testing.assert_allclose(xyz[:, row, column].numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("light", [0, 4])
def test_the_light_is_chosen(root: Path, light: int) -> None:
    image = ready(root, light=light).train_data[0].image
    assert image[:, 20:].unique().tolist() == pytest.approx([(40 * light + 20) / 255])


def test_synthetic_validation(root: Path) -> None:
    data = ready(root, k_shot=2, val_split_mode="synthetic")
    assert [int(item.gt_label) for item in data.val_data] == [0, 1]


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("train/data/001_image_4.png", r"001_image_4\.png: not there, though 001_depth\.png is"),
        ("test_public/data/01_mask.png", r"01_mask\.png: not there"),
        ("train/data/000_info_depth.yaml", r"000_info_depth\.yaml: no normalization"),
    ],
)
def test_missing_files_are_named(root: Path, file: str, message: str) -> None:
    (root / "Lollipop" / file).unlink()
    with pytest.raises(ValueError, match=message):
        list(ready(root).train_data)


@pytest.mark.parametrize(
    "text", ["", "normalization: 3", "normalization: {min: 1}", "a: [", "normalization: {min: x, max: 2}"]
)
def test_broken_limits_are_named(root: Path, text: str) -> None:
    (root / "Lollipop/train/data/000_info_depth.yaml").write_text(text)
    with pytest.raises(ValueError, match="no normalization with min and max"):
        list(ready(root).train_data)


def test_without_a_test_split(root: Path) -> None:
    shutil.rmtree(root / "Lollipop/test_public")
    data = ready(root, k_shot=1, test_split_mode="synthetic")
    assert len(data.test_data) == 4
    assert not len(ready(root, test_split_mode="none").test_data)


def test_a_depth_map_of_another_size_is_named(root: Path) -> None:
    Image.fromarray(np.zeros((32, 32), np.uint16)).save(root / "Lollipop/train/data/000_depth.png")
    with pytest.raises(ValueError, match=r"000_image_4\.png has H x W = 64 x 64 but .*000_depth\.png has 32 x 32"):
        list(ready(root).train_data)


def test_a_broken_depth_map_is_named(root: Path) -> None:
    Image.new("L", (64, 64)).save(root / "Lollipop/train/data/000_depth.png")
    with pytest.raises(ValueError, match=r"000_depth\.png: found uint8 \(64, 64\), an image"):
        list(ready(root).train_data)


def test_no_data_says_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"Lollipop/train/data: no NNN_depth\.png; get Eyecandies from https"):
        ready(tmp_path)


def test_no_such_light(root: Path) -> None:
    with pytest.raises(ValueError, match="light=6: images were made under the lights 0 to 5"):
        Eyecandies(root, light=6)


def test_arguments_parse_as_on_anomalibs_command_line(root: Path) -> None:
    data = from_command_line(["--data=anomalib_clip3dad.data.Eyecandies", f"--data.root={root}", "--data.k_shot=2"])
    assert isinstance(data, Eyecandies)
    assert data.k_shot == 2


def test_check_reads_what_the_data_module_reads(root: Path) -> None:
    assert check(root / "Lollipop") == []
    (root / "Lollipop/train/data/001_info_depth.yaml").write_text("")
    (root / "Lollipop/val/data/000_mask.png").unlink()
    faults = check(root / "Lollipop")
    assert ["no normalization with min and max" in fault for fault in faults] == [True, False]
    assert "000_mask.png: not there" in faults[1]


def test_a_picture_without_depth_is_named(root: Path) -> None:
    (root / "Lollipop/train/data/001_depth.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"001_depth\.png: not there, though image or mask is"):
        ready(root)
