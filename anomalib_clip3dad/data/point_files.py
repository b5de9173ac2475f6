# SPDX-License-Identifier: Apache-2.0

"""Files of unorganised points: .pcd, .ply, and the labelled points of data sets as text."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from anomalib_clip3dad.data.files import read_file
from anomalib_clip3dad.data.notes import tell
from anomalib_clip3dad.data.scans import PCD_COUNTS, PLY_COUNTS, check_header
from anomalib_clip3dad.errors import InputError

_AXES = ("x", "y", "z")
_RGB = ("red", "green", "blue")


class PointFile(NamedTuple):
    """What a file of points holds.

    Attributes:
        points: (N, 3) float32, all finite, as they are in the file: any units, any frame.
        colours: (N, 3) uint8 RGB; None if the file has none.
        labels: (N,) int64, above 0 = anomalous; None if the file has none.
        dropped: Number of points of the file that are not here, because a coordinate is not finite.
    """

    points: np.ndarray
    colours: np.ndarray | None
    labels: np.ndarray | None
    dropped: int


def read_points(path: str | Path) -> PointFile:
    """Read the points of a cloud.

    Args:
        path: .pcd (text, binary or compressed) with the fields x, y, z, perhaps rgb or rgba, perhaps label; or .ply
            (text or binary of either byte order) with the properties x, y, z, perhaps red, green, blue, perhaps label.

    Returns:
        The points in the order of the file. A point with a NaN or an infinite coordinate is left out, with a warning.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is of another format, is truncated, has no x, y, z, holds another number of points than it
            says, or no finite one.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in _READERS:
        msg = f"{path}: found {suffix or 'no suffix'}; points are read from {' and '.join(_READERS)}: export it as one"
        raise InputError(msg)
    fields = read_file(path, lambda file: _READERS[suffix](Path(file)), "point cloud")
    if missing := [axis for axis in _AXES if axis not in fields]:
        msg = f"{path}: no {', '.join(missing)}; found {', '.join(fields) or 'nothing'}: export the coordinates, too"
        raise InputError(msg)
    labels = fields["label"].astype(np.int64) if "label" in fields else None
    return _finite(path, np.stack([fields[axis] for axis in _AXES], axis=-1), _colours(path, fields), labels)


def read_labelled_points(path: str | Path) -> PointFile:
    """Read the ground truth of Real3D-AD or Anomaly-ShapeNet: a line of x, y, z and label for each point.

    Args:
        path: Text file; spaces, as in Real3D-AD, or commas, as in Anomaly-ShapeNet, are between the numbers.

    Returns:
        The points and their labels.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a line has not four numbers, or no point is finite.
    """
    rows = read_file(path, _load_text, "ground truth of points")
    if rows.ndim != 2 or rows.shape[1] != 4 or not len(rows):
        msg = f"{path}: found {rows.shape[-1] if rows.size else 'no'} numbers a line; x, y, z and label are needed"
        raise InputError(msg)
    return _finite(path, rows[:, :3], None, (rows[:, 3] > 0).astype(np.int64))


def _load_text(path: str | Path) -> np.ndarray:
    with Path(path).open(encoding="utf-8") as file:
        first = file.readline()
    if not first:
        return np.empty((0, 0))
    return np.loadtxt(path, delimiter="," if "," in first else None, ndmin=2)


def _load_ply(path: Path) -> dict[str, np.ndarray]:
    from plyfile import PlyData  # noqa: PLC0415

    check_header(path, PLY_COUNTS)
    with path.open("rb") as file:
        data = PlyData.read(file)
        more = not data.text and bool(file.read(1))
    if data.text:
        _, _, body = path.read_bytes().partition(b"end_header")
        lines = sum(bool(line.strip()) for line in body.splitlines())
        more = lines > sum(element.count for element in data.elements)
    if more:
        msg = "holds more than its header says; the number of points is wrong: export it again"
        raise InputError(msg)
    if "vertex" not in data:
        msg = f"found the elements {', '.join(element.name for element in data.elements)}; points are called vertex"
        raise InputError(msg)
    return _columns(data["vertex"].data)


def _load_pcd(path: Path) -> dict[str, np.ndarray]:
    from pypcd4 import PointCloud  # noqa: PLC0415

    check_header(path, PCD_COUNTS)
    cloud = PointCloud.from_path(path)
    told = cloud.metadata
    if len(np.atleast_1d(cloud.pc_data)) != told.points or told.width * told.height != told.points:
        msg = f"found {cloud.pc_data.size} points, but the header says POINTS {told.points}, WIDTH {told.width} and "
        msg += f"HEIGHT {told.height}; it is truncated or was changed by hand: copy or export it again"
        raise InputError(msg)
    return _columns(np.atleast_1d(cloud.pc_data))


_READERS = {".pcd": _load_pcd, ".ply": _load_ply}

POINT_SUFFIXES = tuple(_READERS)
"""What files of points may end in."""


def _columns(table: np.ndarray) -> dict[str, np.ndarray]:
    names: Sequence[str] = table.dtype.names or ()
    return {name: np.ascontiguousarray(table[name]) for name in names if table.dtype[name].kind in "iuf"}


def _colours(path: str | Path, fields: Mapping[str, Any]) -> np.ndarray | None:
    """(N, 3) uint8 of three properties, or of one number whose bytes are blue, green, red."""
    packed = next((fields[name] for name in ("rgb", "rgba") if name in fields), None)
    if packed is not None and packed.dtype.itemsize == 4:
        bits = packed.view(np.uint32)
        return np.stack([bits >> 16 & 255, bits >> 8 & 255, bits & 255], axis=-1).astype(np.uint8)
    if not all(name in fields for name in _RGB):
        return None
    colours = np.stack([fields[name] for name in _RGB], axis=-1)
    if colours.dtype != np.uint8:
        msg = f"{path}: found colours of {colours.dtype}; red, green and blue of 8 bits are needed (uchar)"
        raise InputError(msg)
    return colours


def _finite(path: str | Path, points: np.ndarray, colours: np.ndarray | None, labels: np.ndarray | None) -> PointFile:
    with np.errstate(over="ignore"):  # float64 values beyond float32 become infinite
        points = points.astype(np.float32)
    known = np.isfinite(points).all(axis=1)
    dropped = int((~known).sum())
    if dropped == len(points):
        msg = f"{path}: none of its {len(points)} points is finite; export it again"
        raise InputError(msg)
    if dropped:
        tell(path, f"{dropped} of {len(points)} points are not finite, and left out")
    colours, labels = (values if values is None else values[known] for values in (colours, labels))
    return PointFile(points[known], colours, labels, dropped)
