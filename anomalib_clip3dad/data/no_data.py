# SPDX-License-Identifier: Apache-2.0

"""Which points were measured: the constants that sensors write instead, and points that cannot be true."""

from pathlib import Path

import numpy as np

from anomalib_clip3dad.data.notes import tell
from anomalib_clip3dad.errors import InputError

_FARTHEST = 20.0  # metres; no part is inspected from there, while millimetres give hundreds
_NEAREST = 0.02  # metres; no camera for parts focuses nearer, while a unit that counts twice gives less
_UNUSUAL = (0.1, 3.0)  # metres; half of the points nearer or farther is told: a unit that is wrong by ten ends there
_BEHIND = 0.01  # of the points; more with z < 0 is a frame that is turned or centred
_ASIDE = 10.0  # |x| / z or |y| / z beyond, 84 degrees from the line of sight, no camera sees
_REPEATED = 1e-3  # of the values, and ten at least: a sensor's noise does not give the same number as often
_FACTOR = 2.0  # a repeated value so many times as far (or as near) as all others stands for "no data"
_APART = 1.2  # so many times is worth a note
_PILED, _FINE = 0.05, 100  # so is such a share at the rim of a depth that has so many other values


def measured_depths(name: str | Path, depth: np.ndarray, metres: float, remedy: str) -> np.ndarray:
    """Find the depths that were measured.

    0, what is not finite, the largest value of a whole-number type, and an often repeated value at least twice as far
    (or half as near) as all others count as not measured, and so do single values beyond 20 m.

    Args:
        name: Name of the scan, for messages.
        depth: Depths z of any shape, as they are in the file.
        metres: Metres in one.
        remedy: What to do about a wrong unit.

    Returns:
        bool of the same shape.

    Raises:
        ValueError: If nothing is left, much lies behind the camera, or half of the points are farther than 20 m or
            nearer than 20 mm.

    Example:
        >>> depth = np.full((10, 10), 500.0) + np.arange(10)
        >>> depth[0], depth[1, 0] = 9999, np.nan
        >>> int(measured_depths("a.npy", depth, 0.001, "").sum())
        89
    """
    known = np.isfinite(depth) & (depth != 0)
    if depth.dtype.kind in "iu":
        known &= _without(name, depth, known, np.iinfo(depth.dtype).max, metres)
    if not known.any():
        msg = f"{name}: no measured point, each is zero, NaN or infinite; export the scan again or remove the sample"
        raise InputError(msg)
    known &= _in_front(name, depth, known)
    for largest in (True, False):
        known &= _without_constants(name, depth, known, metres, largest)
    return _at_a_distance(name, depth, known, metres, remedy)


def _without(name: str | Path, depth: np.ndarray, known: np.ndarray, value: float, metres: float) -> np.ndarray:
    is_value = known & (depth == value)
    if is_value.any():
        count, length = np.count_nonzero(is_value), float(value) * metres
        tell(name, f"the value {value:g} ({length:g} m, {count} times) stands for no data; counted as not measured")
    return ~is_value


def _in_front(name: str | Path, depth: np.ndarray, known: np.ndarray) -> np.ndarray:
    behind = known & (depth < 0)
    count, share = int(behind.sum()), behind.sum() / known.sum()
    if share == 0:
        return ~behind
    if share == 1:
        msg = f"{name}: all points lie behind the camera (z < 0); XYZ needs x to the right, y down and z forward: turn "
        msg += "the scan, e.g. y and z times -1"
        raise InputError(msg)
    constants = np.unique(depth[behind])
    if len(constants) <= 2:  # -1 or -9999
        listed = " and ".join(f"{value:g}" for value in constants)
        tell(name, f"the negative value {listed} ({count} times) stands for no data; counted as not measured")
    elif share > _BEHIND:
        msg = f"{name}: {share:.0%} of the points lie behind the camera (z < 0); the origin must be the camera, with x "
        msg += "to the right, y down and z forward: move or turn the scan, or cut off what is behind"
        raise InputError(msg)
    else:
        tell(name, f"{_lie(behind)} behind the camera (z < 0); counted as not measured")
    return ~behind


def _without_constants(
    name: str | Path, depth: np.ndarray, known: np.ndarray, metres: float, largest: bool
) -> np.ndarray:
    """Leave out values that are repeated often far behind, or far before, all others."""
    kept = np.ones_like(known)
    values = depth[known]
    while True:
        value = values.max() if largest else values.min()
        rest = values[values != value]
        count = len(values) - len(rest)
        if not len(rest) or count < max(10, _REPEATED * len(values)):
            return kept
        next_one = float(np.quantile(rest, 0.999 if largest else 0.001))  # but for strays
        apart = float(value) / next_one if largest else next_one / float(value)
        if apart < _FACTOR:
            break
        kept &= _without(name, depth, known, value, metres)
        values = rest
    where, far = "behind" if largest else "before", f"{float(value) * metres:g}"
    if apart >= _APART:
        known_by = f"{where} all others (from {next_one * metres:g} m)"
        tell(name, f"{count} points have exactly z = {far} m, {known_by}; if that stands for no data, write 0")
    elif count > _PILED * len(values) and len(np.unique(rest)) > _FINE:
        tell(name, f"{count} points have exactly z = {far} m and none is {where} them, as if the sensor's range ended")
    return kept


def _at_a_distance(name: str | Path, depth: np.ndarray, known: np.ndarray, metres: float, remedy: str) -> np.ndarray:
    distance = float(np.median(depth[known])) * metres
    if distance > _FARTHEST:
        msg = f"{name}: half of the points are over {distance:.0f} m away; {remedy}"
        raise InputError(msg)
    if distance < _NEAREST:
        msg = f"{name}: half of the points are nearer than {1000 * distance:.3g} mm, as if a unit counted twice; "
        raise InputError(msg + remedy)
    if not _UNUSUAL[0] <= distance <= _UNUSUAL[1]:
        tell(name, f"half of the points are over {distance:.3g} m away, which is unusual for a part; check the unit")
    far = known & (depth * np.float64(metres) > _FARTHEST)
    if far.any():
        tell(name, f"{_lie(far)} over {_FARTHEST:.0f} m away; counted as not measured")
    return known & ~far


def seen_from_the_camera(name: str | Path, points: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Find the points that a camera at the origin can see.

    Args:
        name: Name of the scan, for messages.
        points: (..., 3), any unit.
        known: (...) bool, those with a depth above 0.

    Returns:
        (...) bool, the known ones within 84 degrees of the line of sight.

    Raises:
        ValueError: If that leaves out more than a twentieth of them.
    """
    aside = known & (np.abs(points[..., :2]).max(axis=-1) / _ASIDE > points[..., 2])
    share = aside.sum() / max(1, known.sum())
    if share > 0.05:
        msg = f"{name}: {share:.0%} of the points lie over 84 degrees beside the line of sight, where no camera sees "
        msg += "them; the origin must be the camera, z the distance from it: move or turn the scan"
        raise InputError(msg)
    if share:
        tell(name, f"{_lie(aside)} far beside all that a camera sees; counted as not measured")
    return known & ~aside


def _lie(points: np.ndarray) -> str:
    count = np.count_nonzero(points)
    return f"{count} points lie" if count > 1 else "1 point lies"
