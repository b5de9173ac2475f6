# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import numpy as np
import pytest
from plyfile import PlyData

from anomalib_clip3dad.report import read_surface, scored_points, surface_of, write_surface
from tests.conftest import bumpy_part


def sample(rows: int = 40, columns: int = 50) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Image, cloud without holes, anomaly map that rises with the column, and a part that is a rectangle."""
    image, xyz = bumpy_part(rows, columns)
    y, x = np.mgrid[:rows, :columns]
    depth = 0.5 + 0.01 * np.sin(x / 7)
    xyz = np.stack([0.001 * x, 0.001 * y, depth]).astype(np.float32)
    part = (x >= 5) & (x < 45) & (y >= 10)
    return image.numpy(), xyz, np.tile(np.linspace(0, 1, columns, dtype=np.float32), (rows, 1)), part


def test_points_colours_and_scores_are_those_of_the_pixels() -> None:
    image, xyz, anomaly_map, part = sample()
    found = surface_of(image, xyz, anomaly_map, part)
    assert len(found.points) == part.sum()
    assert np.array_equal(found.points, np.moveaxis(xyz, 0, -1)[part])
    assert np.abs(found.colours - 255 * np.moveaxis(image, 0, -1)[part]).max() <= 0.5 + 1e-3
    assert np.allclose(found.scores, anomaly_map[part])


def test_every_square_of_neighbours_is_two_triangles_that_face_the_sensor() -> None:
    *_, part = sample()
    found = surface_of(*sample())
    assert len(found.faces) == 2 * (part.sum(axis=0).max() - 1) * (part.sum(axis=1).max() - 1)
    a, b, c = (found.points[found.faces[:, corner]].astype(float) for corner in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    assert area.min() > 0
    # in the camera frame with y down the normals of what faces the camera have a negative z
    assert (np.cross(b - a, c - a)[:, 2] < 0).all()


def test_steps_and_gaps_are_no_surface() -> None:
    image, xyz, anomaly_map, part = sample()
    whole = len(surface_of(image, xyz, anomaly_map, part).faces)
    xyz[2, :, 25:] += 0.05
    assert len(surface_of(image, xyz, anomaly_map, part).faces) == whole - 2 * 29
    part[:, 30] = False
    assert len(surface_of(image, xyz, anomaly_map, part).faces) == whole - 2 * 29 - 4 * 29


@pytest.mark.parametrize("at_most", [10, 100, 1000])
def test_large_parts_are_thinned_out(at_most: int) -> None:
    found = surface_of(*sample(), at_most=at_most)
    assert at_most / 4 < len(found.points) <= 1.5 * at_most
    assert len(found.faces)


def test_maps_of_another_size_and_infinite_scores(tmp_path: Path) -> None:
    image, xyz, _, part = sample()
    found = surface_of(image, xyz, np.full((7, 9), np.inf), part)
    assert (found.scores == 1).all()
    nothing = surface_of(image, xyz, np.zeros((7, 9)), np.zeros_like(part))
    assert len(nothing.points) == len(nothing.faces) == 0
    write_surface(nothing, tmp_path / "none.ply")
    assert len(read_surface(tmp_path / "none.ply").faces) == 0


def test_files_hold_all_of_it(tmp_path: Path) -> None:
    surface = surface_of(*sample())
    write_surface(surface, tmp_path / "folder/a.ply")
    found = read_surface(tmp_path / "folder/a.ply")
    assert all(np.array_equal(one, other) for one, other in zip(found, surface, strict=True))
    header = (tmp_path / "folder/a.ply").read_bytes()[:600].decode(errors="ignore")
    assert "property uchar red" in header
    assert "property list uchar int vertex_indices" in header


def test_points_without_a_surface_are_redder_the_higher_their_score(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    points, scores = rng.standard_normal((30, 3)).astype(np.float32), np.linspace(-0.5, 1.5, 30)
    scores[3] = np.inf
    write_surface(scored_points(points, scores), tmp_path / "a.ply")
    vertices = PlyData.read(str(tmp_path / "a.ply"))["vertex"].data
    assert np.array_equal(np.stack([vertices[axis] for axis in "xyz"], axis=-1), points)
    np.testing.assert_allclose(vertices["score"], np.where(np.isinf(scores), 1, scores), rtol=1e-6)
    heat = np.where(np.isinf(scores), 1, scores).clip(0, 1)[:, None]
    shown = np.stack([vertices[name] for name in ("red", "green", "blue")], axis=-1)
    assert np.abs(shown - ((1 - heat) * 180 + heat * np.array([255, 40, 0]))).max() <= 0.5 + 1e-4


def test_points_keep_their_own_colours(tmp_path: Path) -> None:
    points, colours = np.ones((2, 3)), np.array([[1, 2, 3], [4, 5, 6]], np.uint8)
    write_surface(scored_points(points, np.zeros(2), colours), tmp_path / "a.ply")
    found = read_surface(tmp_path / "a.ply")
    assert np.array_equal(found.colours, colours)
    assert len(found.faces) == 0
