# SPDX-License-Identifier: Apache-2.0
"""Arrays and tensors as sensors and programs give them: read right, told, or refused in one line.

What is read must give the image and the cloud of the good part but for what was not measured; docs/inputs.md sums
it up. The rules are those of files.
"""

import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from anomalib_clip3dad.data import Intrinsics
from anomalib_clip3dad.data.arrays import as_part
from anomalib_clip3dad.data.notes import collected
from anomalib_clip3dad.errors import InputError
from tests.data.dome import CAMERA, DEPTH, MILLIMETRES, POINTS, RGB, SIDE, XYZ

CORNER = np.zeros((SIDE, SIDE), bool)
CORNER[:10, :12] = True
ASIDE = np.roll(CORNER, 24)
THREE, ONE, HALF = (np.zeros_like(CORNER) for _ in range(3))
THREE[0, :3], ONE[0, 0], HALF[:30] = True, True, True
TABLE = DEPTH > 0.49


def put(value: Any, where: np.ndarray = CORNER, into: np.ndarray = XYZ) -> np.ndarray:
    """A copy of an array with a value put somewhere."""
    changed = np.array(into)
    changed[where] = value
    return changed


def millimetres(value: float | None = None, dtype: type = np.uint16) -> np.ndarray:
    """The depth in whole millimetres, with a value put into the corner."""
    depth = np.rint(1000 * DEPTH).astype(dtype)
    return depth if value is None else put(value, into=depth)


def scattered(step: int) -> np.ndarray:
    """Every so many-th row and column alone."""
    left = np.zeros_like(XYZ)
    left[::step, ::step] = XYZ[::step, ::step]
    return left


tensor = torch.from_numpy
RGB_TENSOR, XYZ_TENSOR = tensor(np.moveaxis(RGB, -1, 0).copy()), tensor(np.moveaxis(XYZ, -1, 0).copy())
UNIT = RGB_TENSOR / 255

# name: (image, xyz, camera, words of the refusal)
REFUSED: dict[str, tuple[Any, Any, Any, str]] = {
    # ------------------------------------------------ images as arrays and tensors
    "floats up to 255": (RGB.astype(float), XYZ, None, "image: found floats from 0 to"),
    "float tensor up to 255": (RGB_TENSOR.float(), XYZ, None, "image: found floats"),
    "floats below 0": (RGB / 255 - 0.5, XYZ, None, "image: found floats from -0.4"),
    "normalised": ((UNIT - 0.45) / 0.22, XYZ, None, "image: found floats from -1.6"),
    "int64": (RGB.astype(int), XYZ, None, "image: found int64 values"),
    "int8 tensor": (RGB_TENSOR.char(), XYZ, None, "image: found int8 values"),
    "uint16 of 12 bit": (RGB.astype(np.uint16) * 16, XYZ, None, "image: found 16-bit values up to"),
    "bfloat16": (UNIT.bfloat16(), XYZ, None, "image: found a tensor of torch.bfloat16"),
    "complex": (RGB + 0j, XYZ, None, "image: found complex128"),
    "objects": (RGB.astype(object), XYZ, None, "image: found object"),
    "text": (RGB.astype(str), XYZ, None, "image: found <U"),
    "NaN in the image": (put(np.nan, into=RGB / 255), XYZ, None, "image: found NaN"),
    "inf in the image": (UNIT.where(UNIT < 0.8, torch.inf), XYZ, None, "image: found NaN or infinite"),
    "masked image": (np.ma.masked_less(RGB, 40), XYZ, None, "image: found masked pixels"),
    "array channels first": (np.moveaxis(RGB, -1, 0), XYZ, None, r"channels first: numpy\.moveaxis"),
    "tensor channels last": (tensor(RGB), XYZ, None, r"channels last: permute\(2, 0, 1\)"),
    "batch of tensors": (RGB_TENSOR[None], XYZ, None, "this is a batch"),
    "batch of arrays": (RGB[None], XYZ, None, "this is a batch"),
    "grey array": (RGB[..., 0], XYZ, None, r"image: found ndarray \(48, 48\)"),
    "four channels": (np.dstack([RGB, RGB[..., :1]]), XYZ, None, r"image: found ndarray \(48, 48, 4\)"),
    "no image": (None, XYZ, None, "image: found NoneType"),
    "list": (RGB.tolist(), XYZ, None, "image: found list"),
    "PIL image": (Image.fromarray(RGB), XYZ, None, "image: found Image"),
    "empty array": (RGB[:0], XYZ, None, "image: found ndarray"),
    "sparse tensor": (UNIT.to_sparse(), XYZ, None, "torch.sparse_coo"),
    "black": (0 * RGB, XYZ, None, "image: an image of one colour"),
    "white": (RGB * 0 + 255, XYZ, None, "image: an image of one colour"),
    "lens cap with a hot pixel": (
        put(255, THREE, 0 * RGB),
        XYZ,
        None,
        "of one colour",
    ),
    "divided by 255 twice": (UNIT / 255, XYZ, None, "divided by 255 twice"),
    "too small": (RGB[:20, :20], XYZ[:20, :20], None, "20 x 20 pixels are too few"),
    # ------------------------------------------------ clouds as arrays and tensors
    "no cloud": (RGB, None, None, "xyz: found NoneType"),
    "cloud channels first": (RGB, np.moveaxis(XYZ, -1, 0), None, "channels first"),
    "cloud tensor channels last": (RGB, tensor(XYZ), None, "channels last"),
    "batch of clouds": (RGB, XYZ_TENSOR[None], None, "this is a batch"),
    "whole millimetres": (RGB, (1000 * XYZ).astype(np.int32), None, "found int32; XYZ must be floating point metres"),
    "bfloat16 cloud": (RGB, XYZ_TENSOR.bfloat16(), None, "torch.bfloat16"),
    "complex cloud": (RGB, XYZ + 0j, None, "found complex"),
    "text cloud": (RGB, XYZ.astype(str), None, "found <U"),
    "mask as cloud": (RGB, XYZ > 0, None, "found bool"),
    "image as cloud": (RGB, RGB, None, "found uint8"),
    "masked throughout": (RGB, np.ma.masked_all_like(XYZ), None, "no measured point"),
    "NaN throughout": (RGB, XYZ * np.nan, None, "no measured point"),
    "zeros": (RGB, XYZ * 0, None, "no measured point"),
    "another height": (RGB, XYZ[::2], None, "48 x 48 but xyz has 24 x 48"),
    "transposed size": (RGB[:30], XYZ[:, :30], None, "30 x 48 but xyz has 48 x 30"),
    "depth without a camera": (RGB, DEPTH, None, "one-channel depth"),
    "points without a camera": (RGB, POINTS, None, "unorganised list of points"),
    # ------------------------------------------------ units
    "metres are millimetres": (RGB, 1000 * XYZ, None, "half of the points are over 500 m away; XYZ must be metres"),
    "metres are centimetres": (RGB, 100 * XYZ, None, "half of the points are over 50 m away"),
    "metres are kilometres": (RGB, XYZ / 1000, None, r"nearer than 0.5 mm, as if a unit counted twice"),
    "millimetres twice, depth": (RGB, millimetres(), MILLIMETRES._replace(depth_scale=0.001), "depth_scale and unit"),
    "unit never": (RGB, millimetres(), CAMERA, "half of the points are over 500 m away; set depth_scale and unit"),
    "unit never, points": (RGB, 1000 * POINTS, CAMERA, "over 500 m away"),
    "unit twice, points": (RGB, POINTS, MILLIMETRES, "nearer than 0.5 mm"),
    "unit twice, XYZ": (RGB, XYZ, MILLIMETRES, "nearer than 0.5 mm"),
    "micrometres": (RGB, millimetres(), CAMERA._replace(unit="um"), "nearer than"),
    # ------------------------------------------------ axes
    "y up, z backwards": (RGB, XYZ * [1, -1, -1], None, r"all points lie behind the camera .* y and z times -1"),
    "y up, z backwards, points": (RGB, POINTS * [1, -1, -1], CAMERA, "all points lie behind the camera"),
    "negative depth": (RGB, -DEPTH, CAMERA, "all points lie behind the camera"),
    "centred": (RGB, XYZ - XYZ.mean((0, 1)), None, "of the points lie behind the camera"),
    "centred points": (RGB, POINTS - POINTS.mean(0), CAMERA, "of the points lie behind the camera"),
    "a tenth behind": (
        RGB,
        XYZ * np.where(np.arange(48) < 5, -1, 1)[None, :, None],
        None,
        "10% of the points lie behind",
    ),
    "frame of a robot": (RGB, XYZ[..., [2, 0, 1]] + [0, 0.5, 0.2], None, "x and y do not follow"),
    "heights above a table": (RGB, (XYZ - [0, 0, 0.46]) * [100, 100, 1], None, "where no camera sees"),
    "y up": (RGB, XYZ * [1, -1, 1], None, "y runs up; .* multiply y by -1"),
    "x left": (RGB, XYZ * [-1, 1, 1], None, "x runs left; .* multiply x by -1"),
    "turned by half": (RGB, XYZ[::-1, ::-1], None, "x runs left and y runs up"),
    "flipped raster": (RGB, XYZ[:, ::-1], None, "x runs left"),
    "transposed raster": (RGB, XYZ.transpose(1, 0, 2), None, "x runs down and y to the right"),
    "x and y swapped": (RGB, XYZ[..., [1, 0, 2]], None, "x runs down and y to the right"),
    "shuffled raster": (RGB, np.random.default_rng(0).permutation(POINTS).reshape(XYZ.shape), None, "do not follow"),
    "indices instead of points": (RGB, np.dstack([*np.mgrid[:48, :48] / 1e6, DEPTH]), None, "mm across"),
    # ------------------------------------------------ too little
    "ten points": (RGB, XYZ * (np.arange(48 * 48).reshape(48, 48, 1) < 10), None, r"only 0\.43% of the pixels"),
    "every fourth pixel": (RGB, scattered(4), None, "about 3 times coarser"),
    "every other pixel": (RGB, scattered(2), None, "about 2 times coarser"),
    "every other row": (RGB, XYZ * (np.arange(48) % 2)[:, None, None], None, "coarser than the image"),
    "sparse points": (RGB, scattered(4).reshape(-1, 3), CAMERA, "about 3 times coarser"),
    "sparse depth": (RGB, scattered(3)[..., 2], CAMERA, "coarser than the image"),
    "constant depth": (RGB, DEPTH * 0 + 0.5, CAMERA, r"the same depth, z = 0\.5 m"),
    "constant plane": (RGB, np.dstack([XYZ[..., :2], 0 * DEPTH + 0.5]), None, "the same depth"),
    "one point repeated": (RGB, XYZ * 0 + np.float32(0.5), None, "mm across"),
    "no data alone": (RGB, millimetres() * 0 + 65535, MILLIMETRES, "no measured point"),
    "no data but ten points": (RGB, put(0.0, np.arange(48 * 48).reshape(48, 48) > 9), None, "too few to judge"),
    # ------------------------------------------------ camera
    "camera of half the size": (RGB, DEPTH, CAMERA._replace(cx=11.5, cy=11.5, fx=60, fy=60), "the middle of 24 x 24"),
    "camera of twice the size": (
        RGB,
        DEPTH,
        CAMERA._replace(cx=47.5, cy=47.5, fx=240, fy=240),
        "the middle of 96 x 96",
    ),
    "camera of Kinect": (RGB, DEPTH, Intrinsics(525, 525, 319.5, 239.5), "they lie outside"),
    "cx and cy swapped": (RGB[:24], DEPTH[:24], CAMERA._replace(cx=11.5, cy=23.5), "would do so swapped"),
    "camera as shares": (RGB, DEPTH, Intrinsics(2.5, 2.5, 0.5, 0.5), "the middle of 2 x 2"),
    "focal length in millimetres": (RGB, DEPTH, CAMERA._replace(fx=4, fy=4), "field of view of 161 degrees"),
    "focal length of a telescope": (RGB, DEPTH, CAMERA._replace(fx=9e4, fy=9e4), "field of view of 0.03"),
    "fx is not fy": (RGB, DEPTH, CAMERA._replace(fx=400), "differ by more than two"),
    "fx = 0": (RGB, DEPTH, CAMERA._replace(fx=0), "camera: fx=0; a number above 0"),
    "unit of inches": (RGB, DEPTH, CAMERA._replace(unit="in"), "camera: unit='in'; give one of"),
    "camera of NaN": (RGB, DEPTH, CAMERA._replace(cx=float("nan")), "camera: cx=nan; a number"),
    "camera as a dictionary": (RGB, DEPTH, CAMERA._asdict(), "camera: found dict"),
    "camera as a matrix": (RGB, DEPTH, np.eye(3), r"camera: found ndarray \(3, 3\)"),
    "no camera file": (RGB, DEPTH, "nowhere.json", "no such file of intrinsics"),
    "points out of view": (RGB, POINTS + np.array([9, 0, 0]), CAMERA, "where no camera sees them|none of its"),
    "points beside the view": (RGB, POINTS + np.array([1, 0, 0]), CAMERA, "none of its 2304 points is in view"),
    "8-bit depth": (RGB, (255 * DEPTH).astype(np.uint8), CAMERA, "found uint8"),
    "depth of another size": (RGB, DEPTH[::2, ::2], CAMERA._replace(cx=11.5, cy=11.5), "48 x 48 but xyz has 24 x 24"),
}

# name: (image, xyz, camera, words of the note or "", what is not measured)
READ: dict[str, tuple[Any, Any, Any, str, np.ndarray | None]] = {
    "8-bit tensor": (RGB_TENSOR, XYZ, None, "", None),
    "float64": (RGB / 255, XYZ.astype(float), None, "", None),
    "float16 cloud": (RGB, XYZ.astype(np.float16), None, "", None),
    "16 bit": (RGB.astype(np.uint16) * 257, XYZ, None, "", None),
    "16-bit tensor": (tensor(np.moveaxis(RGB.astype(np.uint16) * 257, -1, 0).copy()), XYZ, None, "", None),
    "big-endian": ((RGB / 255).astype(">f4"), XYZ.astype(">f8"), None, "", None),
    "gradients": (UNIT.clone().requires_grad_(), XYZ_TENSOR.clone().requires_grad_(), None, "", None),
    "negative strides": (RGB[..., ::-1].copy()[..., ::-1], XYZ[::-1].copy()[::-1], None, "", None),
    "Fortran order": (np.asfortranarray(RGB), np.asfortranarray(XYZ), None, "", None),
    "permuted": (tensor(RGB).permute(2, 0, 1), tensor(XYZ).permute(2, 0, 1), None, "", None),
    "expanded": (UNIT[None].expand(3, -1, -1, -1)[1], XYZ_TENSOR, None, "", None),
    "inference mode": (UNIT.clone(), XYZ_TENSOR, None, "", None),
    "rounding above 1": ((UNIT * 1.000001 + 1e-7), XYZ, None, "", None),
    "nothing masked": (np.ma.array(RGB), np.ma.array(XYZ), None, "", None),
    "masked points": (RGB, np.ma.array(put(7.0), mask=CORNER[..., None].repeat(3, 2)), None, "", CORNER),
    "masked depth": (RGB, np.ma.array(millimetres(9), mask=CORNER), MILLIMETRES, "", CORNER),
    "NaN": (RGB, put(np.nan), None, "", CORNER),
    "NaN in x alone": (RGB, np.dstack([np.where(CORNER, np.nan, XYZ[..., 0]), XYZ[..., 1:]]), None, "", CORNER),
    "infinite": (RGB, put(-np.inf), None, "", CORNER),
    "depth": (RGB, DEPTH, CAMERA, "", None),
    "depth tensor": (RGB, XYZ_TENSOR[2], CAMERA, "", None),
    "depth (H, W, 1)": (RGB, DEPTH[..., None], CAMERA, "", None),
    "points": (RGB, POINTS[::-1], CAMERA, "", None),
    "points tensor": (RGB, tensor(POINTS), CAMERA, "", None),
    "XYZ in whole millimetres": (RGB, (1000 * XYZ).round().astype(np.int32), MILLIMETRES, "", None),
    "all but the part cut away": (RGB, put(0, TABLE), None, "", TABLE),
    # ------------------------------------------------ constants that mean "no data"
    "65535": (RGB, millimetres(65535), MILLIMETRES, "the value 65535 .* stands for no data", CORNER),
    "65535 as floats": (RGB, millimetres(65535, np.float32), MILLIMETRES, "the value 65535", CORNER),
    "32767": (RGB, millimetres(32767, np.int16), MILLIMETRES, "the value 32767", CORNER),
    "4095 of 12 bit": (RGB, millimetres(4095), MILLIMETRES, "the value 4095", CORNER),
    "9999": (RGB, millimetres(9999), MILLIMETRES, "the value 9999", CORNER),
    "1 as near as nothing": (RGB, millimetres(1), MILLIMETRES, "the value 1 ", CORNER),
    "0": (RGB, millimetres(0), MILLIMETRES, "", CORNER),
    "-1": (RGB, millimetres(-1, np.int16), MILLIMETRES, "the negative value -1", CORNER),
    "-32768": (RGB, millimetres(-32768, np.int16), MILLIMETRES, "the negative value -32768", CORNER),
    "2147483647": (RGB, millimetres(2**31 - 1, np.int32), MILLIMETRES, "the value 2.14748e", CORNER),
    "65.535 m": (RGB, put(65.535), None, "the value 65.535", CORNER),
    "65.535 m on rays": (RGB, put(XYZ[CORNER] / DEPTH[CORNER][:, None] * np.float32(65.535)), None, "65.5", CORNER),
    "(0, 0, 10000)": (RGB, put([0, 0, 1e4]), None, "the value 10000", CORNER),
    "(-1, -1, -1)": (RGB, put(-1), None, "the negative value -1", CORNER),
    "1e6": (RGB, put(1e6), None, r"the value 1e\+06", CORNER),
    "1e10": (RGB, put(1e10), None, r"the value 1e\+10", CORNER),
    "largest float": (RGB, put(np.finfo(np.float32).max), None, r"the value 3.4", CORNER),
    "half of the image": (RGB, put(65.535, HALF), None, "the value 65.5", HALF),
    "two constants": (RGB, put(9.999, ASIDE, put(65.535)), None, "the value", CORNER | ASIDE),
    "points at 65.535 m": (RGB, put([0, 0, 65.535]).reshape(-1, 3), CAMERA, "the value 65.5", CORNER),
    "points at -1": (RGB, put(-1).reshape(-1, 3), CAMERA, "the negative value -1", CORNER),
    "masked with 9999": (RGB, np.ma.array(put(9999), mask=ASIDE[..., None].repeat(3, 2)), None, "9999", CORNER | ASIDE),
    # ------------------------------------------------ what is odd but can be used
    "three points 50 m away": (RGB, put(50.0, THREE), None, "over 20 m away", THREE),
    "three points behind": (RGB, put(-XYZ[THREE], THREE), None, "3 points lie behind", THREE),
    "a point far aside": (RGB, put([1e3, 0, 0.5], ONE), None, "1 point lies far beside", ONE),
}  # fmt: skip


def check_refused(call: Callable[[], Any], words: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing else reaches the user
        with pytest.raises(InputError, match=words) as error:
            call()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_one_line(name: str) -> None:
    image, xyz, camera, words = REFUSED[name]
    check_refused(lambda: as_part(image, xyz, camera), words)


@pytest.mark.parametrize("name", READ)
def test_read_right_and_told(name: str) -> None:
    image, xyz, camera, words, missing = READ[name]
    with collected() as notes, warnings.catch_warnings():
        warnings.simplefilter("error")
        found = as_part(image, xyz, camera)
    assert bool(notes) == bool(words), notes
    assert not words or re.search(words, notes[0][1]), notes
    np.testing.assert_allclose(found.image, np.moveaxis(RGB, -1, 0) / 255, atol=2e-6)
    expected = XYZ if missing is None else put(0, missing)
    np.testing.assert_array_equal(found.xyz[2] == 0, expected[..., 2] == 0)
    np.testing.assert_allclose(found.xyz, np.moveaxis(expected, -1, 0), atol=6e-4)
    assert found.image.is_contiguous()
    assert found.xyz.is_contiguous()
    assert not found.image.requires_grad


@pytest.mark.parametrize(
    ("xyz", "words"),
    [
        (put(np.float32(0.75)), r"120 points have exactly z = 0\.75 m, behind all others"),
        (put(np.float32(0.3)), r"120 points have exactly z = 0\.3 m, before all others"),
        (np.dstack([XYZ[..., :2], np.minimum(DEPTH, 0.48)]), r"points have exactly z = 0\.48 m and none is behind"),
        (np.dstack([XYZ[..., :2], DEPTH.round(2)]), r"only 4 different depths, 0\.01 m apart"),
        (10 * XYZ, r"half of the points are over 5 m away, which is unusual"),
        (XYZ / 10, r"half of the points are over 0\.05 m away, which is unusual"),
    ],
)
def test_what_may_be_right_is_kept_and_told(xyz: np.ndarray, words: str) -> None:
    xyz[..., :2] = xyz[..., 2:] * (XYZ / DEPTH[..., None])[..., :2]
    with collected() as notes:
        found = as_part(RGB, xyz)
    np.testing.assert_array_equal(found.xyz, np.moveaxis(xyz, -1, 0))
    assert any(re.search(words, message) for _, message in notes), notes
