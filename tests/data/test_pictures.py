# SPDX-License-Identifier: Apache-2.0
"""Images of every kind: their values as they are, or one line."""

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from anomalib_clip3dad.data.pictures import load_pixels, to_unit
from anomalib_clip3dad.data.reading import read_image
from anomalib_clip3dad.errors import InputError

GREY = np.random.default_rng(0).integers(0, 256, (24, 32), dtype=np.uint8)
RGB = np.random.default_rng(1).integers(0, 256, (24, 32, 3), dtype=np.uint8)
GREY16, RGB16 = GREY.astype(np.uint16) * 257, RGB.astype(np.uint16) * 257
OPAQUE = np.full_like(GREY, 255)

Write = Callable[[Path], Any]


def pil(values: np.ndarray, mode: str | None = None, **options: Any) -> Write:
    def write(path: Path) -> None:
        picture = Image.fromarray(values)
        (picture.convert(mode) if mode else picture).save(path, **options)

    return write


def tiff(values: np.ndarray, **options: Any) -> Write:
    return lambda path: tifffile.imwrite(path, values, **options)


def wide_png(values: np.ndarray) -> Write:
    return lambda path: path.write_bytes(imagecodecs.png_encode(values))


def turned(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(RGB).save(path, exif=exif)


KEPT: dict[str, tuple[str, Write, np.ndarray]] = {
    "grey": ("a.png", pil(GREY), GREY / 255),
    "16-bit grey": ("a.png", pil(GREY16), GREY / 255),
    "16-bit RGB": ("a.png", wide_png(RGB16 + RGB), (RGB16 + RGB) / 65535),
    "1 bit": ("a.png", pil(GREY > 99), GREY > 99),
    "palette": ("a.png", lambda p: Image.fromarray(RGB // 64 * 64).quantize(64).save(p), RGB // 64 * 64 / 255),
    "opaque alpha": ("a.png", pil(np.dstack([RGB, OPAQUE])), RGB / 255),
    "unused alpha": ("a.png", pil(np.dstack([RGB, 0 * OPAQUE])), RGB / 255),
    "bmp": ("a.bmp", pil(RGB), RGB / 255),
    "RGB tiff": ("a.tif", tiff(RGB, photometric="rgb"), RGB / 255),
    "16-bit RGB tiff": ("a.tif", tiff(RGB16, photometric="rgb"), RGB / 255),
    "channels first tiff": ("a.tif", tiff(np.moveaxis(RGB, -1, 0), photometric="rgb", planarconfig=2), RGB / 255),
    "float tiff": ("a.tiff", tiff(RGB / np.float32(255), photometric="rgb"), RGB / 255),
    "white is 0": ("a.tif", tiff(GREY, photometric="miniswhite"), 1 - GREY / 255),
    "a TIFF called png": ("a.png", tiff(RGB, photometric="rgb"), RGB / 255),
}


@pytest.mark.parametrize("kind", KEPT)
def test_what_the_file_says_is_kept(tmp_path: Path, kind: str) -> None:
    name, write, expected = KEPT[kind]
    write(tmp_path / name)
    expected = expected if expected.ndim == 3 else np.dstack([expected] * 3)
    np.testing.assert_allclose(np.moveaxis(read_image(tmp_path / name).numpy(), 0, -1), expected, atol=1e-6)


REFUSED: dict[str, tuple[str, Write, str]] = {
    "12 bit in 16": ("a.png", pil(GREY16 // 16), "16-bit values up to 4095, .* 12 bit: times 16"),
    "12-bit colours in 16": ("a.png", wide_png(RGB16 // 16), "16-bit values up to 4095"),
    "8 bit in 16": ("a.tif", tiff(RGB.astype(np.uint16), photometric="rgb"), "up to 255, .* 8 bit: times 256"),
    "whole numbers of 32 bit": ("a.tif", tiff(RGB.astype(np.int32), photometric="rgb"), "found int32 values"),
    "floats up to 255": ("a.tif", tiff(RGB.astype(np.float32), photometric="rgb"), "floats from 0 to 255; RGB in"),
    "NaN": ("a.tif", tiff(np.where(GREY > 9, GREY / 255, np.nan).astype(np.float32)), "found NaN or infinite"),
    "CMYK": ("a.jpg", pil(RGB, "CMYK"), "mode CMYK, .*save it as RGB or grey"),
    "Lab": ("a.tif", pil(RGB, "LAB"), "mode LAB"),
    "16 bit, white is 0": ("a.tif", tiff(GREY16, photometric="miniswhite"), "mode I;16"),
    "alpha": ("a.png", pil(np.dstack([RGB, GREY])), "transparent places"),
    "16-bit alpha": ("a.png", wide_png(np.dstack([RGB16, GREY16])), "transparent places"),
    "grey and alpha": ("a.png", pil(np.dstack([GREY, GREY])), "transparent places"),
    "one transparent grey": ("a.png", pil(GREY, transparency=5), "transparent places"),
    "animated": (
        "a.png",
        pil(RGB, save_all=True, append_images=[Image.fromarray(RGB[::-1].copy())]),
        "found 2 pages or frames",
    ),
    "pages": ("a.tif", tiff(np.stack([GREY, GREY]), photometric="minisblack"), "found 2 pages or frames"),
    "turned": ("a.jpg", turned, "EXIF orientation 6"),
    "turned tiff": ("a.tif", tiff(RGB, photometric="rgb", extratags=[(274, 3, 1, 6, True)]), "orientation 6"),
    "five channels": ("a.tif", tiff(np.dstack([RGB, RGB]), photometric="rgb"), r"pixels of shape \(24, 32, 6\)"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_would_be_lost_is_named(tmp_path: Path, kind: str) -> None:
    name, write, message = REFUSED[kind]
    write(tmp_path / name)
    with pytest.raises(InputError, match=rf"{name}: .*{message}"):
        read_image(tmp_path / name)


def test_a_picture_that_declares_too_many_pixels_takes_no_memory(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(np.zeros((16, 16), np.uint8))
    content = bytearray((tmp_path / "a.tif").read_bytes())
    for tag in (256, 257):  # width and height
        at = content.index(tag.to_bytes(2, "little") + (4).to_bytes(2, "little"))
        content[at + 8 : at + 12] = (46341).to_bytes(4, "little")
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(InputError, match="found 2147488281 pixels or points"):
        load_pixels(tmp_path / "a.tif")
    header = bytearray(imagecodecs.png_encode(GREY))
    header[16:24] = (46341).to_bytes(4, "big") * 2
    header[29:33] = zlib.crc32(bytes(header[12:29])).to_bytes(4, "big")
    (tmp_path / "a.png").write_bytes(header)
    with pytest.raises(InputError, match="pixels"):
        load_pixels(tmp_path / "a.png")


def test_floats_may_leave_the_range_by_rounding_alone() -> None:
    assert to_unit(np.array([-1e-6, 1 + 1e-6])).tolist() == [0, 1]
    with pytest.raises(InputError, match=r"floats from 0 to 1\.1"):
        to_unit(np.array([0, 1.1]))
