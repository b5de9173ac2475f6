# SPDX-License-Identifier: Apache-2.0

"""Whether an image, its cloud and its camera can belong together and hold enough to judge."""

import math
from pathlib import Path

import numpy as np

from anomalib_clip3dad.data.intrinsics import Intrinsics
from anomalib_clip3dad.data.notes import tell
from anomalib_clip3dad.errors import InputError
from anomalib_clip3dad.limits import LEAST_CONTRAST, LEAST_MEASURED

_FEWEST = 21  # pixels a side: the background plane is looked for in a frame of 10 pixels
_DENSE = 0.3  # of the eight neighbours of measured pixels; real scans with a half lost at random have 0.58
_ALONG = 0.8  # correlation of x / z with the column and y / z with the row; pinhole cameras have 1.0
_WIDE, _NARROW = 140.0, 1.0  # degrees that an image spans
_CENTRAL = (0.35, 0.65)  # where the principal point lies, as a share of the image
_SAME_SHARE = 0.03  # for cx and cy: so equal, they are those of an image of another size
_COARSE = 16  # different depths; fewer come of centimetres or of 8 bit
_SMALLEST = 0.005  # metres; the plane that parts lie on is found to 5 mm, so nothing smaller is


def check_sample(image_name: str | Path, image: np.ndarray, name: str | Path, xyz: np.ndarray) -> None:
    """Refuse an image and a cloud that hold too little, or whose axes do not run as the pixels do.

    Args:
        image_name: Where the image came from, for messages.
        image: (3, H, W) RGB in [0, 1].
        name: Where the cloud came from, for messages.
        xyz: (3, H, W) organised XYZ, metres, camera frame, (0, 0, 0) = not measured.

    Raises:
        ValueError: If so.
    """
    check_picture(image_name, image)
    valid = np.isfinite(xyz).all(axis=0) & (xyz[2] > 0)
    _check_density(name, valid)
    points = np.moveaxis(xyz, 0, -1)[valid].astype(np.float64)
    row, column = valid.nonzero()
    _check_extent(name, points)
    _check_axes(name, points[:, 0] / points[:, 2], points[:, 1] / points[:, 2], row, column)


def check_picture(name: str | Path, image: np.ndarray) -> None:
    """Refuse an image that is too small or of one colour.

    Args:
        name: Where it came from, for messages.
        image: (3, H, W) RGB in [0, 1].

    Raises:
        ValueError: If so.
    """
    rows, columns = image.shape[1:]
    if min(rows, columns) < _FEWEST:
        msg = f"{name}: {rows} x {columns} pixels are too few to find a part in; export it larger"
        raise InputError(msg)
    # but for single bright pixels, which a sensor in the dark has
    most = np.sort(image.reshape(3, -1), axis=1)
    aside = most.shape[1] // 200
    low, high = most[:, aside].min(), most[:, most.shape[1] - 1 - aside].max()
    contrast = (most[:, most.shape[1] - 1 - aside] - most[:, aside]).max()
    if contrast < LEAST_CONTRAST:
        msg = f"{name}: an image of one colour ({255 * low:.3g} to {255 * high:.3g} of 255), which shows no part; take "
        msg += "it again, or if values were divided by 255 twice, do so once"
        raise InputError(msg)


def _check_density(name: str | Path, valid: np.ndarray) -> None:
    share = valid.mean()
    if share < LEAST_MEASURED:
        msg = (
            f"{name}: only {share:.2%} of the pixels have a point, too few to judge; export the scan again, check that "
        )
        msg += "it shows the same view as the image, or remove the sample"
        raise InputError(msg)
    if (_share_around(valid, 3)[valid].mean() * 9 - 1) / 8 < _DENSE:
        coarser = max(2, round(1 / math.sqrt(_share_around(valid, 9)[valid].mean())))
        rows, columns = (max(1, round(size / coarser)) for size in valid.shape)
        msg = f"{name}: only {share:.0%} of the pixels have a point, scattered, so the cloud is about {coarser} times "
        msg += f"coarser than the image; scale the image down, to {rows} x {columns} or so, and fx, fy, cx, cy with it"
        raise InputError(msg)


def _share_around(valid: np.ndarray, side: int) -> np.ndarray:
    """Share of the pixels that hold, in the square around each pixel, as far as it is in the image."""

    def count(holds: np.ndarray) -> np.ndarray:
        total = np.pad(np.pad(holds, side // 2).cumsum(axis=0, dtype=int).cumsum(axis=1), ((1, 0), (1, 0)))
        return total[side:, side:] - total[:-side, side:] - total[side:, :-side] + total[:-side, :-side]

    return count(valid) / count(np.ones_like(valid))


def _check_extent(name: str | Path, points: np.ndarray) -> None:
    low, high = np.quantile(points, (0.01, 0.99), axis=0)
    across = float((high - low)[:2].max())
    if across < _SMALLEST:
        msg = (
            f"{name}: all that was measured is {1000 * across:.2g} mm across, smaller than anything that can be found; "
        )
        msg += "check the unit"
        raise InputError(msg)
    if (points[:, 2] == np.median(points[:, 2])).mean() > 0.999:
        msg = f"{name}: all points have the same depth, z = {np.median(points[:, 2]):g} m, so nothing was measured; "
        msg += "export the scan again"
        raise InputError(msg)

    found = np.unique(points[:: max(1, len(points) // 20_000), 2])
    if len(found) < _COARSE:
        tell(name, f"only {len(found)} different depths, {found[1] - found[0]:.2g} m apart, too coarse to see a dent")


def _check_axes(name: str | Path, u: np.ndarray, v: np.ndarray, row: np.ndarray, column: np.ndarray) -> None:
    """Compare the directions of points with their pixels."""
    right, down = _along(u, column), _along(v, row)
    if min(right, down) >= _ALONG:
        return
    if min(_along(u, row), _along(v, column)) >= _ALONG:
        found, remedy = "x runs down and y to the right", "transpose the raster, or swap x and y"
    elif min(abs(right), abs(down)) >= _ALONG:
        wrong = [("x", "left", -1)] * (right < 0) + [("y", "up", -2)] * (down < 0)
        found = " and ".join(f"{axis} runs {way}" for axis, way, _ in wrong)
        remedy = f"multiply {' and '.join(axis for axis, _, _ in wrong)} by -1, or flip the raster"
    else:
        found = "x and y do not follow the columns and rows"
        remedy = "export it in the camera's frame, in the order of its pixels"
    msg = f"{name}: {found}; XYZ needs x to the right and y down the image: {remedy}"
    raise InputError(msg)


def _along(values: np.ndarray, pixels: np.ndarray) -> float:
    if np.ptp(pixels) == 0 or np.ptp(values) == 0:
        return 0.0
    return float(np.corrcoef(values, pixels)[0, 1])


def check_camera(name: str | Path, camera: Intrinsics, size: tuple[int, int]) -> None:
    """Refuse a camera that cannot be that of an image.

    Args:
        name: What it is used for, for messages.
        camera: The camera.
        size: Height and width of the image.

    Raises:
        ValueError: If its principal point is outside the image or that of another size, or its field of view is none
            of a camera.
    """
    rows, columns = size
    across, down = (camera.cx + 0.5) / columns, (camera.cy + 0.5) / rows
    found = (
        f"{name}: cx={camera.cx:g}, cy={camera.cy:g} of the intrinsics do not fit an image of {columns} columns and "
    )
    found += f"{rows} rows"
    inside, central = (0 < across < 1 and 0 < down < 1), _CENTRAL[0] <= across <= _CENTRAL[1]
    if not central and abs(across - down) < _SAME_SHARE:
        msg = f"{found}, but the middle of {2 * across * columns:.0f} x {2 * down * rows:.0f}; scale fx, fy, cx, cy "
        msg += "with the image"
        raise InputError(msg)
    if not _is_central(across, down) and _is_central((camera.cy + 0.5) / columns, (camera.cx + 0.5) / rows):
        msg = f"{found}, but would do so swapped; swap cx and cy (and fx and fy), or turn the image"
        raise InputError(msg)
    if not inside:
        msg = f"{found}, since they lie outside; scale them with the image, and shift them where it was cut"
        raise InputError(msg)
    for axis, focal, length in (("fx", camera.fx, columns), ("fy", camera.fy, rows)):
        angle = 2 * math.degrees(math.atan(length / 2 / focal))
        if not _NARROW <= angle <= _WIDE:
            msg = f"{name}: {axis}={focal:g} of the intrinsics with {length} pixels is a field of view of {angle:.3g} "
            msg += "degrees; fx and fy are in pixels of this image: correct them"
            raise InputError(msg)
    if not 0.5 <= camera.fx / camera.fy <= 2:
        msg = f"{name}: fx={camera.fx:g} and fy={camera.fy:g} of the intrinsics differ by more than two; both are in "
        msg += "pixels: correct them"
        raise InputError(msg)
    if not _is_central(across, down):
        tell(name, f"cx={camera.cx:g}, cy={camera.cy:g} are not near the middle of the image; right only if it was cut")


def _is_central(across: float, down: float) -> bool:
    return all(_CENTRAL[0] <= share <= _CENTRAL[1] for share in (across, down))
