# SPDX-License-Identifier: Apache-2.0

from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from anomalib_clip3dad.data.reading import read_organised, read_sample, read_truth


def write(path: Path, array: np.ndarray, **kwargs: str) -> Path:
    tifffile.imwrite(path, array, photometric="rgb" if array.shape[-1] == 3 else "minisblack", **kwargs)
    return path


def test_axes_and_numbers(tmp_path: Path) -> None:
    points = np.arange(1, 2 * 4 * 3 + 1, dtype=np.float32).reshape(2, 4, 3) / 16
    xyz = read_organised(write(tmp_path / "a.tiff", points))
    assert xyz.shape == (3, 2, 4)
    assert xyz.dtype == torch.float32
    assert xyz.is_contiguous()
    for row in range(2):
        for column in range(4):
            assert xyz[:, row, column].tolist() == points[row, column].tolist()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_one_bad_coordinate_makes_the_whole_point_unmeasured(tmp_path: Path, bad: float, axis: int) -> None:
    points = np.full((2, 4, 3), 0.5, dtype=np.float32)
    points[1, 2, axis] = bad
    xyz = read_organised(write(tmp_path / "a.tiff", points))
    assert xyz[:, 1, 2].tolist() == [0.0, 0.0, 0.0]
    assert (xyz == 0.5).sum() == 3 * 7


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_every_float_becomes_float32(tmp_path: Path, dtype: str, byteorder: str) -> None:
    points = np.full((2, 4, 3), 0.25, dtype=dtype)
    xyz = read_organised(write(tmp_path / "a.tiff", points, byteorder=byteorder))
    assert xyz.dtype == torch.float32
    assert (xyz == 0.25).all()


def test_a_value_beyond_float32_is_not_measured(tmp_path: Path) -> None:
    points = np.full((2, 4, 3), 0.25)
    points[0, 0, 0] = 1e300
    xyz = read_organised(write(tmp_path / "a.tiff", points))
    assert xyz[:, 0, 0].tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.ones((6, 8), np.float32), ["one-channel depth (6, 8)", "intrinsics"]),
        (np.ones((6, 8), np.uint16), ["one-channel depth (6, 8)", "intrinsics"]),
        (np.ones((6, 8, 1), np.float32), ["one-channel depth (6, 8, 1)", "intrinsics"]),
        (np.ones((48, 3), np.float32), ["unorganised", "(48, 3)", "intrinsics"]),
        (np.ones((3, 6, 8), np.float32), ["channels first", "(3, 6, 8)", "numpy.moveaxis(xyz, 0, -1)"]),
        (np.ones((6, 8, 4), np.float32), ["shape (6, 8, 4)", "(H, W, 3)"]),
        (np.ones((6, 8, 3), np.uint16), ["uint16", "floating point metres", "/ 1000"]),
        (np.zeros((6, 8, 3), np.float32), ["no measured point", "export the scan again"]),
        (np.full((6, 8, 3), np.nan, np.float32), ["no measured point", "export the scan again"]),
    ],
)
def test_wrong_content_is_explained(tmp_path: Path, array: np.ndarray, words: list[str]) -> None:
    path = write(tmp_path / "scan.tiff", array)
    with pytest.raises(ValueError, match=r"scan\.tiff") as error:
        read_organised(path)
    for word in words:
        assert word in str(error.value)
    assert "\n" not in str(error.value)


def test_millimetres_are_refused(tmp_path: Path) -> None:
    points = np.full((4, 5, 3), 0.5, dtype=np.float32)
    points[0] = 0
    tifffile.imwrite(tmp_path / "m.tiff", points, photometric="rgb")
    tifffile.imwrite(tmp_path / "mm.tiff", 1000 * points, photometric="rgb")
    assert read_organised(tmp_path / "m.tiff").max() == 0.5
    with pytest.raises(ValueError, match=r"mm\.tiff: half of the points are over 500 m away.*millimetres / 1000"):
        read_organised(tmp_path / "mm.tiff")


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.99])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_truncated_file_is_explained(tmp_path: Path, kept: float, compression: str | None) -> None:
    noise = np.random.default_rng(0).random((20, 20, 3), dtype=np.float32)
    path = write(tmp_path / "scan.tiff", noise, compression=compression)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ValueError, match=r"scan\.tiff: unreadable 3D file .* copy or export it again"):
        read_organised(path)


def test_a_missing_file_is_explained(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.tiff: no such 3D file; put it there"):
        read_organised(tmp_path / "nowhere.tiff")


def sample(folder: Path, image: np.ndarray, points: np.ndarray) -> tuple[Path, Path]:
    Image.fromarray(image).save(folder / "a.png")
    return folder / "a.png", write(folder / "a.tiff", points)


def cloud(height: int, width: int) -> np.ndarray:
    """Points in front of a camera, no two as far away."""
    rows, columns = np.mgrid[:height, :width]
    depth = 0.5 + 1e-5 * (rows * width + columns)
    return np.dstack([columns / width * depth, rows / height * depth, depth]).astype(np.float32)


def test_picture_and_points(tmp_path: Path) -> None:
    picture = np.zeros((24, 26, 3), np.uint8)
    picture[1:8, 2] = [255, 51, 0]
    image, xyz = read_sample(*sample(tmp_path, picture, cloud(24, 26)))
    assert type(image) is type(xyz) is torch.Tensor
    assert image.dtype == xyz.dtype == torch.float32
    assert image[:, 1, 2].tolist() == pytest.approx([1.0, 0.2, 0.0])
    assert image.sum() == pytest.approx(7 * 1.2)
    np.testing.assert_array_equal(xyz, np.moveaxis(cloud(24, 26), -1, 0))


def test_unequal_sizes_name_both_files_and_sizes(tmp_path: Path) -> None:
    paths = sample(tmp_path, np.zeros((4, 6, 3), np.uint8), np.ones((6, 4, 3), np.float32))
    with pytest.raises(ValueError, match=r"a\.png has H x W = 4 x 6 but .*a\.tiff has 6 x 4; .* one resolution"):
        read_sample(*paths)


def test_broken_pictures_are_explained(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    image, depth = sample(tmp_path, noise, np.ones((40, 60, 3), np.float32))
    content = image.read_bytes()
    for kept in (0, 20, len(content) // 2):
        image.write_bytes(content[:kept])
        with pytest.raises(ValueError, match=r"a\.png: unreadable image .* copy or export it again"):
            read_sample(image, depth)
    image.unlink()
    with pytest.raises(FileNotFoundError, match=r"a\.png: no such image; put it there"):
        read_sample(image, depth)


def test_truth_is_every_value_above_zero(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 1], [128, 255]], np.uint8)).save(tmp_path / "m.png")
    mask = read_truth(tmp_path / "m.png", "a.png", torch.zeros(3, 2, 2))
    assert mask.dtype == torch.uint8
    assert mask.tolist() == [[0, 1], [1, 1]]
    with pytest.raises(ValueError, match=r"a\.png has H x W = 4 x 2 but .*m\.png has 2 x 2"):
        read_truth(tmp_path / "m.png", "a.png", torch.zeros(3, 4, 2))
    with pytest.raises(FileNotFoundError, match=r"n\.png: no such ground truth mask"):
        read_truth(tmp_path / "n.png", "a.png", torch.zeros(3, 4, 2))
