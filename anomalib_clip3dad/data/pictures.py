# SPDX-License-Identifier: Apache-2.0

"""Image files as arrays that hold what the file holds: nothing clipped, rounded or dropped, or refused."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tifffile
from PIL import Image, ImageFile

from anomalib_clip3dad.errors import InputError

MOST_PIXELS = 2**26
"""More pixels or points than this are no image or scan of a part; refused before any memory is taken for them."""

_ORIENTATION = 0x0112  # EXIF: how the raster is to be turned before it is shown
_PNG_DEPTH, _PNG_COLOUR = 24, 25  # bytes of a PNG: bits per value, and 2 or 6 for colours
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


class Pixels(NamedTuple):
    """What an image file holds.

    Attributes:
        values: (H, W, C) bool, uint8, uint16 or float; C = 1 grey or 3 RGB.
        alpha: (H, W) of the same type, if it differs between pixels; None if it says nothing.
        indices: (H, W) uint8 into the palette, where there is one; `values` are its colours.
        lossy: Whether the format changes values, as JPEG does.
    """

    values: np.ndarray
    alpha: np.ndarray | None = None
    indices: np.ndarray | None = None
    lossy: bool = False


def load_pixels(path: str | Path) -> Pixels:
    """Read an image file without changing what it says.

    Args:
        path: An image with one page: grey, RGB or palette, with alpha or without, of 1, 8 or 16 bit or floats.

    Returns:
        What is in the file.

    Raises:
        ValueError: If it holds several pages, is to be turned (EXIF), is too large, or has colours that cannot become
            RGB without loss.
        Exception: Of the library that reads the format, a dozen types; whoever opens the file names it.
    """
    with Path(path).open("rb") as file:
        head = file.read(_PNG_COLOUR + 1)
    if head.startswith(_TIFF):
        return _of_tiff(path)
    with opened(path) as picture:
        _check_pages(getattr(picture, "n_frames", 1))
        _check_orientation(picture.getexif().get(_ORIENTATION, 1))
        # of 16-bit colours PIL (13) keeps the upper 8 bits alone
        wide = picture.format == "PNG" and head[_PNG_DEPTH] == 16 and head[_PNG_COLOUR] != 0
        return _of_channels(_wide_png(path)) if wide else _of_pil(picture)


def _check_pages(pages: int) -> None:
    if pages > 1:
        msg = f"found {pages} pages or frames; a sample has one image: save each in a file of its own"
        raise InputError(msg)


def _check_orientation(tag: int) -> None:
    if tag not in {0, 1}:
        msg = f"found EXIF orientation {tag}, so its pixels are not those that a viewer shows; save it as it lies on "
        msg += "the 3D data, without that tag"
        raise InputError(msg)


@contextmanager
def opened(path: str | Path) -> Iterator[ImageFile.ImageFile]:
    """Open an image without reading its pixels.

    Args:
        path: Path of the image.

    Yields:
        PIL's image.

    Raises:
        ValueError: If it says that it has more than `MOST_PIXELS`.
        Exception: PIL's, if it is no image.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our limit is the lower one
        try:
            picture = Image.open(path)
        except Image.DecompressionBombError:
            msg = f"found more than {MOST_PIXELS} pixels; export it smaller"
            raise InputError(msg) from None
    with picture:
        check_count(picture.width * picture.height)
        yield picture


def check_count(count: int) -> None:
    """Refuse what declares more pixels or points than can be meant.

    Args:
        count: Number of pixels or points.

    Raises:
        ValueError: If it is above `MOST_PIXELS`.
    """
    if count > MOST_PIXELS:
        msg = f"found {count} pixels or points, more than {MOST_PIXELS}; export it smaller, or it is damaged"
        raise InputError(msg)


def _wide_png(path: str | Path) -> np.ndarray:
    import imagecodecs  # noqa: PLC0415  # comes with anomalib; seldom needed

    return imagecodecs.png_decode(Path(path).read_bytes())


def _of_pil(picture: ImageFile.ImageFile) -> Pixels:
    lossy = picture.format in {"JPEG", "MPO", "WEBP"}
    if picture.mode == "P":
        transparent = "transparency" in picture.info
        found = _of_channels(np.asarray(picture.convert("RGBA" if transparent else "RGB")))
        return found._replace(indices=np.asarray(picture))
    if picture.mode == "I" and picture.format == "PNG":  # what PIL before 12 makes of 16-bit grey
        return _of_channels(np.asarray(picture).astype(np.uint16))
    if picture.mode == "YCbCr":
        return _of_channels(np.asarray(picture.convert("RGB")))._replace(lossy=lossy)
    if picture.mode not in {"1", "L", "LA", "RGB", "RGBA", "I;16", "I;16B", "I;16L", "F"}:
        raise _unknown(picture.mode)
    if "transparency" in picture.info:  # one grey or colour is the transparent one
        picture_of = picture.convert("LA" if picture.mode in {"1", "L"} else "RGBA")
        return _of_channels(np.asarray(picture_of))
    return _of_channels(np.asarray(picture))._replace(lossy=lossy)


def _of_tiff(path: str | Path) -> Pixels:
    """Pixels of a TIFF as stored; PIL, which does not know some kinds, for palettes, inverted grey and YCbCr alone."""
    with open_tiff(path) as file:
        _check_pages(len(file.pages))
        page = file.pages[0]
        assert isinstance(page, tifffile.TiffPage)  # noqa: S101
        tag = page.tags.get(_ORIENTATION)
        _check_orientation(int(tag.value) if tag else 1)
        check_count(int(np.prod(page.shape)))
        if page.photometric in {tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.RGB}:
            values = page.asarray()
            return _of_channels(np.moveaxis(values, 0, -1) if values.ndim == 3 and page.planarconfig == 2 else values)
    with opened(path) as picture:
        if picture.mode not in {"1", "L", "P", "RGB", "YCbCr"}:
            raise _unknown(picture.mode)
        return _of_pil(picture)


@contextmanager
def open_tiff(path: str | Path) -> Iterator[tifffile.TiffFile]:
    """Open a TIFF without reading its values, and without tifffile's log of all that is odd about it.

    Args:
        path: Path of the file.

    Yields:
        The file.
    """
    log = logging.getLogger("tifffile")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        with tifffile.TiffFile(path) as file:
            yield file
    finally:
        log.setLevel(before)


def _unknown(mode: str) -> InputError:
    return InputError(f"found an image of mode {mode}, which does not become RGB without loss; save it as RGB or grey")


def _of_channels(values: np.ndarray) -> Pixels:
    """Tell colours from alpha, and drop an alpha that is the same everywhere."""
    values = values[..., None] if values.ndim == 2 else values
    if values.ndim != 3 or values.shape[-1] not in {1, 2, 3, 4}:
        msg = f"found pixels of shape {values.shape}; save it as RGB or grey"
        raise InputError(msg)
    if values.shape[-1] % 2:
        return Pixels(values)
    alpha = values[..., -1]
    return Pixels(values[..., :-1], None if (alpha == alpha.flat[0]).all() else alpha)


def to_unit(values: np.ndarray) -> np.ndarray:
    """Scale pixels to [0, 1] by the range of their type.

    Args:
        values: Pixels of any shape; bool, 8 or 16 bit, or floats in [0, 1].

    Returns:
        float32 of the same shape.

    Raises:
        ValueError: If they are of another type or range, or not finite; or of 16 bit with less than a quarter used,
            as sensors of 10, 12 or 14 bit write them: then nobody knows what white is.

    Example:
        >>> to_unit(np.array([0, 51, 255], np.uint8)).round(3).tolist()
        [0.0, 0.20000000298023224, 1.0]
    """
    kind = values.dtype
    if kind == np.bool_:
        return values.astype(np.float32)
    if kind == np.uint8:
        return (values / np.float32(255)).astype(np.float32)
    if kind.kind == "u" and kind.itemsize == 2:
        most = int(values.max(initial=0))
        if most < 2**14:
            bits = max(8, most.bit_length())
            msg = f"found 16-bit values up to {most}, so white is not at 65535; scale them (e.g. {bits} bit: times "
            msg += f"{2 ** (16 - bits)}) or save 8 bit"
            raise InputError(msg)
        return (values / np.float32(65535)).astype(np.float32)
    if kind.kind != "f":
        msg = f"found {kind} values; RGB is of 8 or 16 bit without sign (uint8, uint16) or floats in [0, 1]: convert it"
        raise InputError(msg)
    return _floats(values)


def _floats(values: np.ndarray) -> np.ndarray:
    if not np.isfinite(values).all():
        msg = "found NaN or infinite values; RGB has a colour in each pixel: export it again"
        raise InputError(msg)
    low, high = float(values.min(initial=0)), float(values.max(initial=0))
    if low < -_ROUNDING or high > 1 + _ROUNDING:
        msg = f"found floats from {low:g} to {high:g}; RGB in [0, 1], or 8 bit, is needed: divide by the value of white"
        raise InputError(msg)
    return values.clip(0, 1).astype(np.float32)


_ROUNDING = 1e-5  # what resizing and arithmetic of float32 leave beyond [0, 1]
