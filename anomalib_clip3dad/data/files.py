# SPDX-License-Identifier: Apache-2.0

"""Reading of one sample as arrays, without torch: image and organised XYZ of the same pixels."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import UnidentifiedImageError

from anomalib_clip3dad.data.intrinsics import Intrinsics, organise, unproject
from anomalib_clip3dad.data.no_data import measured_depths, seen_from_the_camera
from anomalib_clip3dad.data.pictures import load_pixels, opened, to_unit
from anomalib_clip3dad.data.plausible import check_camera, check_sample
from anomalib_clip3dad.data.scans import load_scan
from anomalib_clip3dad.errors import InputError, MissingFileError


def read_arrays(
    image_path: str | Path, depth_path: str | Path, camera: Intrinsics | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Read one sample; arguments, values and errors are those of `anomalib_clip3dad.data.read_sample`.

    Returns:
        Image and XYZ, as arrays.
    """
    image = read_picture(image_path)
    xyz = organised_points(depth_path, read_scan(depth_path), camera, (image.shape[1], image.shape[2]))
    check_same_size(image_path, image, depth_path, xyz)
    check_sample(image_path, image, depth_path, xyz)
    return image, xyz


def read_picture(path: str | Path) -> np.ndarray:
    """Read an image; argument, values and errors are those of `anomalib_clip3dad.data.reading.read_image`."""
    return read_file(path, _rgb, "image")


def _rgb(path: str | Path) -> np.ndarray:
    pixels = load_pixels(path)
    if pixels.alpha is not None:
        msg = "found transparent places, whose colours are no measurement; save it as RGB without alpha"
        raise InputError(msg)
    return as_rgb(to_unit(pixels.values))


def as_rgb(values: np.ndarray) -> np.ndarray:
    """Bring pixels to the layout of tensors.

    Args:
        values: (H, W, 3) RGB or (H, W, 1) grey.

    Returns:
        (3, H, W), contiguous.
    """
    channels = np.repeat(values, 3, axis=-1) if values.shape[-1] == 1 else values
    return np.ascontiguousarray(np.moveaxis(channels, -1, 0))


def read_scan(path: str | Path) -> np.ndarray:
    """Read a 3D file as it is.

    Args:
        path: See `load_scan`.

    Returns:
        See `load_scan`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read.
    """
    return read_file(path, load_scan, "3D file")


def organised_points(
    name: str | Path, scan: np.ndarray, camera: Intrinsics | None = None, size: tuple[int, int] | None = None
) -> np.ndarray:
    """Check what a scan holds, and bring it into one form.

    Args:
        name: Name of the scan, for the error messages.
        scan: Organised XYZ (H, W, 3), or with a camera depth (H, W) or points (N, 3), see
            `anomalib_clip3dad.data.read_organised`.
        camera: See there.
        size: See there.

    Returns:
        (3, H, W) float32, XYZ in metres, camera frame, (0, 0, 0) = not measured.

    Raises:
        ValueError: See there.
    """
    points = _to_xyz(name, scan, camera, size)
    return np.moveaxis(points, -1, 0).astype(np.float32, order="C")


def _to_xyz(name: str | Path, scan: np.ndarray, camera: Intrinsics | None, size: tuple[int, int] | None) -> np.ndarray:
    """Organised XYZ (H, W, 3) in metres, (0, 0, 0) = not measured, or an error that says what the file holds."""
    if not isinstance(scan, np.ndarray) or scan.dtype.kind not in "iuf" or scan.dtype.itemsize < 2:
        found = getattr(scan, "dtype", type(scan).__name__)
        msg = f"{name}: found {found}; a 3D file holds numbers, floats or of 16 bit and more: export it again"
        raise InputError(msg)
    if camera is None:
        _check_layout(name, scan)
        return _measured_points(name, scan, 1.0, "XYZ must be metres: millimetres / 1000")
    remedy = "set depth_scale and unit of the intrinsics, which both count"
    if scan.ndim == 2 and scan.shape[1] == 3 and scan.shape != size:
        if size is None:
            msg = f"{name}: found points {scan.shape}; the size of the image that sees them is needed with them"
            raise InputError(msg)
        check_camera(name, camera, size)
        return organise(name, _measured_points(name, scan, camera.metres, remedy), camera, size)
    flat = scan.squeeze(-1) if scan.ndim == 3 and scan.shape[-1] == 1 else scan
    if flat.ndim == 2:
        check_camera(name, camera, flat.shape)
        metres = camera.depth_scale * camera.metres
        return unproject(np.where(measured_depths(name, flat, metres, remedy), flat, 0), camera)
    if scan.dtype.kind in "iu":  # whole numbers of millimetres
        scan = np.where(scan == np.iinfo(scan.dtype).max, np.nan, scan)
    _check_layout(name, scan)
    return _measured_points(name, scan, camera.metres, "set unit of the intrinsics")


def _measured_points(name: str | Path, points: np.ndarray, metres: float, remedy: str) -> np.ndarray:
    """Points (..., 3) in metres, float64, (0, 0, 0) = not measured."""
    with np.errstate(over="ignore"):  # float64 values beyond float32 become infinite
        finite = np.isfinite(points.astype(np.float32)).all(axis=-1)
    z = np.where(finite, points[..., 2], 0)
    known = seen_from_the_camera(name, points, measured_depths(name, z, metres, remedy))
    return np.where(known[..., None], points, 0) * np.float64(metres)


def image_size(path: str | Path) -> tuple[int, int]:
    """Read the height and width of an image, and no more of it.

    Args:
        path: See `read_picture`.

    Returns:
        Rows and columns.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read.
    """
    return read_file(path, _size, "image")


def _size(path: str | Path) -> tuple[int, int]:
    try:
        with opened(path) as picture:
            return picture.height, picture.width
    except UnidentifiedImageError:  # a TIFF of floats, say
        rows, columns, _ = load_pixels(path).values.shape
        return rows, columns


def read_file(path: str | Path, reader: Callable[[str | Path], Any], kind: str) -> Any:
    """Call a reader; whatever it raises becomes one line that names the file.

    Args:
        path: Path of the file.
        reader: What reads it.
        kind: What the file is called in messages.

    Returns:
        What the reader returns.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read.
    """
    if not Path(path).is_file():
        msg = f"{path}: no such {kind}; put it there or correct the path"
        raise MissingFileError(msg)
    try:
        return reader(path)
    except InputError as error:
        msg = f"{path}: {error}"
        raise InputError(msg) from None
    except Exception as error:  # tifffile, its codecs and PIL raise a dozen types, struct.error among them
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        msg = f"{path}: unreadable {kind} ({reason}); it is truncated or of another format: copy or export it again"
        raise InputError(msg) from None


def _check_layout(path: str | Path, points: np.ndarray) -> None:
    shape = points.shape
    wanted = "organised XYZ needs shape (H, W, 3)"
    if len(shape) == 3 and shape[-1] == 3:
        if np.issubdtype(points.dtype, np.floating):
            return
        msg = f"{path}: found {points.dtype}; XYZ must be floating point metres: convert it, e.g. millimetres / 1000"
    elif len(shape) == 2 and shape[1] == 3:
        msg = f"{path}: found an unorganised list of points {shape}; {wanted}, or give the camera's intrinsics with it"
    elif len(shape) == 2 or (len(shape) == 3 and 1 in {shape[0], shape[-1]}):
        msg = f"{path}: found one-channel depth {shape}; {wanted}, or give the camera's intrinsics with it"
    elif len(shape) == 3 and shape[0] == 3:
        msg = f"{path}: found {shape}, channels first; {wanted}: save it as numpy.moveaxis(xyz, 0, -1)"
    else:
        msg = f"{path}: found shape {shape}; {wanted}, one point per pixel of the image: export it again"
    raise InputError(msg)


def check_same_size(path: str | Path, image: Any, other_path: str | Path, other: Any) -> None:
    """Refuse two files that do not show the same pixels.

    Args:
        path: Path of the image.
        image: (..., H, W), the image, array or tensor.
        other_path: Path of what belongs to it.
        other: (..., H, W), what belongs to it.

    Raises:
        ValueError: If heights or widths differ.
    """
    if image.shape[-2:] != other.shape[-2:]:
        sizes = [" x ".join(map(str, values.shape[-2:])) for values in (image, other)]
        msg = (
            f"{path} has H x W = {sizes[0]} but {other_path} has {sizes[1]}; they must show the same pixels: "
            "export both at one resolution"
        )
        raise InputError(msg)
