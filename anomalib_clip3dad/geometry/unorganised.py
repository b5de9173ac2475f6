# SPDX-License-Identifier: Apache-2.0
"""Unorganised clouds: points without rows and columns, as one row, and how to bring them to a fixed number."""

from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

_STEPS = (0.5, 0.25, 0.75)  # of the way between two neighbours; GS-CLIP's, which draws among them at random
_NEIGHBOURS = 3  # GS-CLIP's
_HALVINGS = 14  # of the edge of the cubes: 57600 points on a surface are some 200 in a row, and this is 1 in 16384


class Resampled(NamedTuple):
    """A cloud with another number of points.

    Attributes:
        points: (N, 3), in the units of the original.
        source: (N,) int64, the original point at each new one, or the nearer end of the line that it is on. What is
            known of the original points (labels, colours) holds for the new ones by this index.
    """

    points: np.ndarray
    source: np.ndarray


def resample(points: np.ndarray, count: int) -> Resampled:
    """Bring a cloud to a number of points; nothing is drawn at random, so that the same cloud gives the same bits.

    GS-CLIP thins out by farthest points, which takes minutes for a scan of a million points. Here a grid of cubes is
    laid over the cloud, as coarse as leaves enough of them occupied, and each occupied cube keeps the point nearest to
    its centre: as even, and fast. A cloud with too few points gets more on the lines between neighbours, as in GS-CLIP.

    Args:
        points: (M, 3), finite, any units.
        count: Number of points wanted.

    Returns:
        The cloud with `count` points; unchanged and in the same order if there are as many.

    Raises:
        ValueError: If there are less than two points, between which there is no line.

    Example:
        >>> line = np.array([[0.0, 0, 0], [4.0, 0, 0], [8.0, 0, 0]])
        >>> resample(line, 2).source.tolist()
        [1, 2]
        >>> resample(line, 5).points[:, 0].tolist()
        [0.0, 4.0, 8.0, 2.0, 6.0]
    """
    if len(points) < 2:
        msg = f"`points` has shape {tuple(points.shape)}, wanted (M, 3) with at least 2 points."
        raise ValueError(msg)
    source = np.arange(len(points))
    if len(points) > count:
        source = _thinned(points, count)
        return Resampled(points[source], source)
    while len(points) < count:
        points, ends = _grown(points, count)
        source = source[ends]
    return Resampled(points, source)


def _thinned(points: np.ndarray, count: int) -> np.ndarray:
    """Indices of `count` points that are spread evenly, ascending."""
    shifted = points.astype(np.float64) - points.min(axis=0)
    span = float(shifted.max())
    edge, coarse, fine = 0.0, span, 0.0
    for _ in range(_HALVINGS if span else 0):  # without a span all points are one
        middle = (coarse + fine) / 2
        if len(np.unique(_cubes(shifted, middle))) >= count:
            edge = fine = middle
        else:
            coarse = middle
    kept = _one_of_each_cube(shifted, edge) if edge else np.arange(len(points))
    return np.sort(kept[np.linspace(0, len(kept) - 1, count).round().astype(int)])


def _cubes(points: np.ndarray, edge: float) -> np.ndarray:
    """Number of the cube that each point (N, 3), of coordinates >= 0, is in."""
    x, y, z = np.floor(points / edge).astype(np.int64).T
    return (x << 42) + (y << 21) + z


def _one_of_each_cube(points: np.ndarray, edge: float) -> np.ndarray:
    """Index of the point nearest to the centre of each occupied cube, in the order of the cubes."""
    distances = np.square(points / edge % 1 - 0.5).sum(axis=1)
    cubes = _cubes(points, edge)
    order = np.lexsort((distances, cubes))
    ordered = cubes[order]
    return order[np.append(True, ordered[1:] != ordered[:-1])]


def _grown(points: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """More points, on the lines between neighbours, but no more than `count`, and the index of the nearer end."""
    _, near = cKDTree(points).query(points, min(_NEIGHBOURS + 1, len(points)))
    pairs = np.stack([np.repeat(np.arange(len(points)), near.shape[1]), near.ravel()], axis=1)
    pairs = np.unique(np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1), axis=0)
    first, second = np.concatenate([pairs] * len(_STEPS)).T
    step = np.repeat(_STEPS, len(pairs))[:, None]
    added = points[first] * (1 - step) + points[second] * step
    ends = np.where(step[:, 0] <= 0.5, first, second)
    missing = count - len(points)
    if missing < len(pairs):  # not the first ones, which would all be in one place
        chosen = np.linspace(0, len(pairs) - 1, missing).round().astype(int)
    else:
        chosen = np.arange(min(missing, len(added)))
    grown = np.concatenate([points, added[chosen].astype(points.dtype)])
    return grown, np.concatenate([np.arange(len(points)), ends[chosen]])
