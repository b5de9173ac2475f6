# SPDX-License-Identifier: Apache-2.0
"""The surface or the points of a part with scores, in memory and as .ply files, which any viewer of 3D files shows."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

_JUMP = 3.0  # times the usual distance of neighbours: longer edges bridge a gap or a step, and are no surface
_HOT = np.array([255, 40, 0])  # colour of a score of 1 or more
_RGB = ("red", "green", "blue")
_SHOWN = [*_RGB, *(f"image_{name}" for name in _RGB)]
_GREY = 180  # of points that have no colours
_FIELDS = [*((name, "f4") for name in "xyz"), *((name, "u1") for name in _SHOWN), ("score", "f4")]


class Surface(NamedTuple):
    """A triangulated part.

    Attributes:
        points: (N, 3) float32, metres, camera frame (x right, y down, z forward); of unorganised clouds, any units.
        colours: (N, 3) uint8, RGB.
        scores: (N,) float32, the anomaly map at each point.
        faces: (M, 3) int32, indices of the triangles' points; none of unorganised clouds.
    """

    points: np.ndarray
    colours: np.ndarray
    scores: np.ndarray
    faces: np.ndarray


def surface_of(
    image: np.ndarray, xyz: np.ndarray, anomaly_map: np.ndarray, part: np.ndarray, at_most: int = 8000
) -> Surface:
    """Triangulate the part of an organised cloud.

    Args:
        image: (3, H, W) RGB in [0, 1].
        xyz: (3, h, w) organised XYZ in metres, camera frame, (0, 0, 0) = not measured.
        anomaly_map: (S, T), anywhere in the same frame.
        part: (h, w) bool, what is drawn; a subset of the measured points.
        at_most: Number of points, about; rows and columns are left out evenly.

    Returns:
        Neighbouring points are joined, unless they are so far apart that a gap or a step lies between them.
    """
    step = max(1, int(np.ceil(np.sqrt(part.sum() / at_most))))
    part = part[::step, ::step]
    rows, columns = part.shape
    points = np.moveaxis(xyz[:, ::step, ::step], 0, -1)
    index = np.full(part.shape, -1, dtype=np.int32)
    index[part] = np.arange(part.sum(), dtype=np.int32)
    colours = np.stack([_resized(channel, (rows, columns)) for channel in image], axis=-1)
    scores = _resized(anomaly_map, (rows, columns))
    return Surface(
        points[part].astype(np.float32),
        np.rint(255 * colours[part].clip(0, 1)).astype(np.uint8),
        scores[part].astype(np.float32),
        _triangles(index, points),
    )


def scored_points(points: np.ndarray, scores: np.ndarray, colours: np.ndarray | None = None) -> Surface:
    """Join unorganised points and their scores, for `write_surface`.

    Args:
        points: (N, 3), any units.
        scores: (N,), normalised: 0.5 = threshold, 1 and more are drawn alike.
        colours: (N, 3) uint8 RGB; None: grey.

    Returns:
        A surface without triangles.
    """
    shown = np.full(points.shape, _GREY, np.uint8) if colours is None else colours
    finite = np.nan_to_num(scores.astype(np.float32), posinf=1.0, neginf=0.0)
    return Surface(points.astype(np.float32), shown, finite, np.zeros((0, 3), np.int32))


def _resized(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    rows, columns = size
    finite = np.nan_to_num(values.astype(np.float32), posinf=1.0, neginf=0.0)
    return np.asarray(Image.fromarray(finite).resize((columns, rows), Image.Resampling.BILINEAR))


def _triangles(index: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Two triangles for each square of neighbours that are all there and near each other."""
    corners = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    there = np.logical_and.reduce([corner >= 0 for corner in corners])
    places = points[:-1, :-1], points[:-1, 1:], points[1:, :-1], points[1:, 1:]
    longest = np.max([np.linalg.norm(a - b, axis=-1) for a in places for b in places], axis=0)
    if there.any():
        there &= longest <= _JUMP * np.median(longest[there])
    a, b, c, d = (corner[there] for corner in corners)
    return np.concatenate([np.stack([a, c, b], axis=-1), np.stack([b, c, d], axis=-1)]).astype(np.int32)


def write_surface(surface: Surface, file: Path) -> None:
    """Write a .ply file: points, their scores, triangles, and two sets of colours.

    Viewers show the first one, in which the scores are red; `image_red`, `image_green`, `image_blue` are the image's.

    Args:
        surface: What to write.
        file: Path, whose folder is made.
    """
    from plyfile import PlyData, PlyElement  # noqa: PLC0415  # takes a while, and only some runs write surfaces

    heat = surface.scores.clip(0, 1)[:, None]
    shown = np.rint((1 - heat) * surface.colours + heat * _HOT).astype(np.uint8)
    vertices = np.empty(len(surface.points), dtype=_FIELDS)
    for name, column in zip("xyz", surface.points.T, strict=True):
        vertices[name] = column
    for name, column in zip(_SHOWN, [*shown.T, *surface.colours.T], strict=True):
        vertices[name] = column
    vertices["score"] = surface.scores
    faces = np.empty(len(surface.faces), dtype=[("vertex_indices", "i4", (3,))])
    faces["vertex_indices"] = surface.faces
    file.parent.mkdir(parents=True, exist_ok=True)
    PlyData([PlyElement.describe(vertices, "vertex"), PlyElement.describe(faces, "face")]).write(str(file))


def read_surface(file: Path) -> Surface:
    """Read what `write_surface` wrote.

    Args:
        file: Path of the .ply file.

    Returns:
        The surface.
    """
    from plyfile import PlyData  # noqa: PLC0415

    data: Any = PlyData.read(str(file))
    vertices, faces = data["vertex"].data, data["face"].data["vertex_indices"]
    return Surface(
        np.stack([vertices[name] for name in "xyz"], axis=-1),
        np.stack([vertices[f"image_{name}"] for name in _RGB], axis=-1),
        np.asarray(vertices["score"]),
        np.stack(list(faces)).astype(np.int32) if len(faces) else np.zeros((0, 3), np.int32),
    )
