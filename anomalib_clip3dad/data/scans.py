# SPDX-License-Identifier: Apache-2.0

"""3D files of any format, as arrays."""

import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from anomalib_clip3dad.data.pictures import check_count, open_tiff, opened
from anomalib_clip3dad.errors import InputError


def load_scan(path: str | Path) -> np.ndarray:
    """Load a 3D file, whatever it holds.

    Args:
        path: Organised XYZ or depth (.tiff, .tif, .npy), depth (.png of 16 bit, .exr), or a cloud (.ply, .pcd).

    Returns:
        (H, W, 3) organised XYZ, (H, W) depth, or (N, 3) points, as they are in the file. A .pcd that says it is
        organised gives (H, W, 3).

    Raises:
        ValueError: If the suffix is none of these, or the file does not hold what its format promises.
        Exception: Of the library that reads the format, a dozen types; whoever opens the file names it.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in _LOADERS:
        msg = f"no 3D format is known by {suffix or 'no suffix'}; known are {', '.join(_LOADERS)}"
        raise InputError(msg)
    return _LOADERS[suffix](Path(path))


def _load_tiff(path: Path) -> np.ndarray:
    with open_tiff(path) as file:
        if len(file.series) != 1:
            msg = f"found {len(file.series)} images of different kinds; one of XYZ (H, W, 3) or depth (H, W) is needed"
            raise InputError(msg)
        check_count(math.prod(file.series[0].shape) // 3)
        return file.asarray()


def _load_npy(path: Path) -> np.ndarray:
    # mapped, so that a header that promises more than there is fails before any memory is taken
    mapped = np.lib.format.open_memmap(path, mode="r")
    check_count(mapped.size // 3)
    return np.array(mapped)


def _load_png(path: Path) -> np.ndarray:
    with opened(path) as picture:
        depth = np.asarray(picture)
        frames = getattr(picture, "n_frames", 1)
        if frames > 1:
            msg = f"found {frames} frames; depth needs a single one"
            raise InputError(msg)
    if depth.ndim != 2 or depth.dtype in {np.dtype(np.uint8), np.dtype(bool)}:
        msg = f"found {depth.dtype} {depth.shape}, an image; depth needs one channel of 16 bit"
        raise InputError(msg)
    return depth


def _load_exr(path: Path) -> np.ndarray:
    import OpenEXR  # noqa: PLC0415  # read by few, and slow to import

    with OpenEXR.File(str(path), header_only=True) as file:
        (left, top), (right, bottom) = file.header()["dataWindow"]
        check_count((int(right) - int(left) + 1) * (int(bottom) - int(top) + 1))
    with OpenEXR.File(str(path)) as file:
        channels = {name: channel.pixels for name, channel in file.channels().items()}
    if len(channels) != 1:
        msg = f"found the channels {', '.join(channels)}; depth needs a single one"
        raise InputError(msg)
    (depth,) = channels.values()
    if depth.ndim == 2:
        return depth
    # the library joins R, G and B; some programs write depth three times
    if not np.array_equal(depth, np.broadcast_to(depth[..., :1], depth.shape), equal_nan=True):
        msg = f"found different values in {depth.shape[-1]} channels, an image; depth needs one channel"
        raise InputError(msg)
    return depth[..., 0]


def _load_ply(path: Path) -> np.ndarray:
    from plyfile import PlyData  # noqa: PLC0415

    check_header(path, PLY_COUNTS)
    vertices = PlyData.read(str(path))["vertex"]
    return np.stack([np.asarray(vertices[axis]) for axis in "xyz"], axis=-1)


def _load_pcd(path: Path) -> np.ndarray:
    from pypcd4 import PointCloud  # noqa: PLC0415

    check_header(path, PCD_COUNTS)
    cloud = PointCloud.from_path(path)
    points = cloud.numpy(("x", "y", "z"))
    height, width = cloud.metadata.height, cloud.metadata.width
    return points.reshape(height, width, 3) if height > 1 else points


PLY_COUNTS = rb"^element\s+\w+\s+(\d+)"
PCD_COUNTS = rb"^(?:POINTS|WIDTH|HEIGHT)\s+(\d+)"


def check_header(path: Path, counts: bytes) -> None:
    """Refuse counts in a header of text that cannot be meant.

    Args:
        path: Path of the file.
        counts: Regular expression that finds them, `PLY_COUNTS` or `PCD_COUNTS`.

    Raises:
        ValueError: If one is above `MOST_PIXELS`.
    """
    with path.open("rb") as file:
        head = file.read(_HEADER)
    for count in re.findall(counts, head, re.MULTILINE):
        check_count(int(count[:_DIGITS]))


_HEADER, _DIGITS = 2**16, 20


_LOADERS: dict[str, Callable[[Path], np.ndarray]] = {
    ".tiff": _load_tiff,
    ".tif": _load_tiff,
    ".npy": _load_npy,
    ".png": _load_png,
    ".exr": _load_exr,
    ".ply": _load_ply,
    ".pcd": _load_pcd,
}

SCAN_SUFFIXES = tuple(_LOADERS)
"""What 3D files may end in."""
