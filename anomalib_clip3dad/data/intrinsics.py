# SPDX-License-Identifier: Apache-2.0

"""The camera of a scan: from depth or loose points to one point per pixel."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from anomalib_clip3dad.data.notes import tell
from anomalib_clip3dad.errors import InputError, MissingFileError

FILE_NAME = "intrinsics.json"
"""What the file of a camera is called where nobody names it."""

_LARGEST = 1e12  # no number of a camera is; and JSON has whole numbers of any length
_UNITS = {"m": 1.0, "cm": 1e-2, "mm": 1e-3, "um": 1e-6}
_NEEDED = ("fx", "fy", "cx", "cy")
_IN_VIEW = 0.5  # of the points; fewer are told: a scan of a whole cell, or a camera that is not the image's
_KEYS = (*_NEEDED, "depth_scale", "unit")


class Intrinsics(NamedTuple):
    """A pinhole camera without distortion, and what its numbers mean.

    Attributes:
        fx: Focal length along the columns, pixels.
        fy: Focal length along the rows, pixels.
        cx: Column of the principal point; the centre of the first pixel is 0.
        cy: Row of the principal point.
        depth_scale: Factor from the values of a depth map to lengths in `unit`; clouds do not need it.
        unit: "m", "cm", "mm" or "um".
    """

    fx: float
    fy: float
    cx: float
    cy: float
    depth_scale: float = 1.0
    unit: str = "m"

    @property
    def metres(self) -> float:
        """Metres in one `unit`."""
        return _UNITS[self.unit]


def read_intrinsics(path: str | Path) -> Intrinsics:
    """Read a camera from JSON.

    Args:
        path: File with an object of fx, fy, cx, cy and, if they are not 1 and "m", depth_scale and unit.

    Returns:
        The camera.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no JSON, or a key is missing, unknown or out of range.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder) / "intrinsics.json"
        ...     _ = file.write_text('{"fx": 600, "fy": 600, "cx": 319.5, "cy": 239.5, "unit": "mm"}')
        ...     camera = read_intrinsics(file)
        >>> camera.fx, camera.depth_scale, camera.metres
        (600.0, 1.0, 0.001)
    """
    if not Path(path).is_file():
        msg = f"{path}: no such file of intrinsics; a JSON object with {', '.join(_KEYS)} is needed"
        raise MissingFileError(msg)
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except (ValueError, OSError, RecursionError) as error:
        msg = f"{path}: no JSON ({error}); write an object with {', '.join(_KEYS)}"
        raise InputError(msg) from None
    if not isinstance(found, dict) or set(found) - set(_KEYS) or set(_NEEDED) - set(found):
        keys = ", ".join(found) if isinstance(found, dict) else type(found).__name__
        msg = f"{path}: found {keys}; {', '.join(_NEEDED)} are needed, depth_scale and unit may be added, nothing else"
        raise InputError(msg)
    return checked(path, found)


def checked(name: str | Path, values: dict[str, Any]) -> Intrinsics:
    """Make a camera of numbers that can be one.

    Args:
        name: Where they come from, for messages.
        values: fx, fy, cx, cy and, if they are not 1 and "m", depth_scale and unit.

    Returns:
        The camera.

    Raises:
        ValueError: If one is out of range.
    """
    _check(name, values)
    numbers: dict[str, Any] = {key: value if key == "unit" else float(value) for key, value in values.items()}
    return Intrinsics(**numbers)


def find_intrinsics(folder: Path, top: Path | None = None) -> Path | None:
    """Find the file of the camera that belongs to a folder.

    Args:
        folder: Folder of samples.
        top: A folder above it, where a layout begins; None for the folder itself.

    Returns:
        The intrinsics.json in the folder, or the nearest one above it, up to the folder that holds `top`.
    """
    place, last = folder.absolute(), (top or folder).absolute().parent
    while not (place / FILE_NAME).is_file():
        if place in {last, place.parent}:
            return None
        place = place.parent
    return place / FILE_NAME


def _check(path: str | Path, found: dict[str, Any]) -> None:
    for key, value in found.items():
        if key == "unit":
            if value not in list(_UNITS):
                msg = f"{path}: unit={value!r}; give one of {', '.join(_UNITS)}"
                raise InputError(msg)
        elif isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _LARGEST:
            msg = f"{path}: {key}={value!r}; a number is needed"
            raise InputError(msg)
        elif key not in {"cx", "cy"} and value <= 0:
            msg = f"{path}: {key}={value}; a number above 0 is needed"
            raise InputError(msg)


def unproject(depth: np.ndarray, camera: Intrinsics) -> np.ndarray:
    """Turn a depth map into organised XYZ.

    Args:
        depth: (H, W), distances along the line of sight of the principal point, which is z, in `depth_scale` units; 0,
            negative or not finite = not measured.
        camera: Intrinsics of the depth map.

    Returns:
        (H, W, 3) float64, metres, camera frame (x right, y down, z forward), (0, 0, 0) = not measured.

    Example:
        >>> unproject(np.array([[0, 500]]), Intrinsics(100, 100, 0, 0, unit="mm")).tolist()
        [[[0.0, 0.0, 0.0], [0.005, 0.0, 0.5]]]
    """
    z = depth.astype(np.float64) * (camera.depth_scale * camera.metres)
    z = np.where(np.isfinite(z) & (z > 0), z, 0.0)
    row, column = np.indices(depth.shape)
    return np.stack(((column - camera.cx) / camera.fx * z, (row - camera.cy) / camera.fy * z, z), axis=-1)


def organise(name: str | Path, points: np.ndarray, camera: Intrinsics, size: tuple[int, int]) -> np.ndarray:
    """Put loose points back into the pixels that see them.

    Args:
        name: Name of the scan, for messages.
        points: (N, 3), metres, camera frame; (0, 0, 0) = no point.
        camera: Intrinsics of an image of `size`.
        size: Height and width in pixels.

    Returns:
        (H, W, 3) float64, metres, camera frame, (0, 0, 0) = no point; of several points in a pixel the nearest.

    Raises:
        ValueError: If none of the points is in view.

    Example:
        >>> points = np.array([[0.0, 0.0, 2.0], [0.0, 0.0, 1.0], [0.02, 0.0, 1.0]])
        >>> organise("a.ply", points, Intrinsics(100, 100, 0, 0), (1, 3))[0].tolist()
        [[0.0, 0.0, 1.0], [0.0, 0.0, 0.0], [0.02, 0.0, 1.0]]
    """
    height, width = size
    points = points[points[:, 2] > 0].astype(np.float64)
    x, y, z = points.T
    column, row = np.rint(camera.fx * x / z + camera.cx), np.rint(camera.fy * y / z + camera.cy)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    if not inside.any():
        msg = f"{name}: none of its {len(points)} points is in view of the camera; XYZ must be in the camera's frame, "
        msg += "and fx, fy, cx, cy those of the image: correct the intrinsics or move the scan"
        raise InputError(msg)
    if inside.mean() < _IN_VIEW:
        tell(name, f"{1 - inside.mean():.0%} of the points are outside the view; check frame and intrinsics")
    points, cells = points[inside], (row * width + column)[inside].astype(np.int64)
    organised = np.zeros((height * width, 3))
    farthest_first = np.argsort(-points[:, 2], kind="stable")  # of equal indices, the last one stays
    organised[cells[farthest_first]] = points[farthest_first]
    return organised.reshape(height, width, 3)
