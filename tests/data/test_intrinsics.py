# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path

import numpy as np
import pytest

from anomalib_clip3dad.data.intrinsics import Intrinsics, organise, read_intrinsics, unproject

CAMERA = Intrinsics(fx=50.0, fy=60.0, cx=3.5, cy=2.0, depth_scale=0.5, unit="mm")


def depth_map(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    depth = rng.uniform(400, 900, (6, 8))
    depth[rng.random((6, 8)) < 0.2] = 0
    return depth


def test_unproject_against_the_pinhole_formula() -> None:
    depth = depth_map()
    xyz = unproject(depth, CAMERA)
    for row in range(6):
        for column in range(8):
            z = depth[row, column] * 0.5 / 1000
            expected = [(column - 3.5) * z / 50, (row - 2.0) * z / 60, z]
            np.testing.assert_allclose(xyz[row, column], expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("missing", [0.0, -1.0, np.nan, np.inf, -np.inf])
def test_no_depth_is_no_point(missing: float) -> None:
    depth = np.full((2, 3), 500.0)
    depth[1, 2] = missing
    xyz = unproject(depth, CAMERA)
    assert xyz[1, 2].tolist() == [0, 0, 0]
    assert (xyz[..., 2] > 0).sum() == 5


def test_points_in_any_order_come_back_to_their_pixels() -> None:
    xyz = unproject(depth_map(), CAMERA)
    points = np.random.default_rng(1).permutation(xyz.reshape(-1, 3))
    np.testing.assert_allclose(organise("a.ply", points, CAMERA, (6, 8)), xyz, rtol=1e-12)


def test_organise_against_a_loop() -> None:
    """Many points to a pixel, some beside the image, behind the camera or no point."""
    rng = np.random.default_rng(2)
    points = rng.uniform([-0.06, -0.04, -0.1], [0.06, 0.04, 0.9], (400, 3))
    points[5] = 0
    expected = np.zeros((6, 8, 3))
    for x, y, z in points:
        if not z > 0:
            continue
        column, row = round(50 * x / z + 3.5), round(60 * y / z + 2.0)
        if 0 <= column < 8 and 0 <= row < 6 and not 0 < expected[row, column, 2] <= z:
            expected[row, column] = x, y, z
    found = organise("a.ply", points, CAMERA, (6, 8))
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert 10 < (expected[..., 2] > 0).sum() < 48


def test_read(tmp_path: Path) -> None:
    file = tmp_path / "intrinsics.json"
    file.write_text(json.dumps(CAMERA._asdict()))
    assert read_intrinsics(file) == CAMERA
    file.write_text('{"fx": 5, "fy": 6, "cx": 1, "cy": -2}')
    assert read_intrinsics(file) == Intrinsics(5.0, 6.0, 1.0, -2.0, 1.0, "m")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "no JSON"),
        ("[1]", "found list; fx, fy, cx, cy are needed"),
        ('{"fx": 1, "fy": 1, "cx": 1}', "found fx, fy, cx; fx, fy, cx, cy are needed"),
        ('{"fx": 1, "fy": 1, "cx": 1, "cy": 1, "k1": 0.1}', "found fx, fy, cx, cy, k1; fx, .* nothing else"),
        ('{"fx": "1", "fy": 1, "cx": 1, "cy": 1}', "fx='1'; a number"),
        ('{"fx": true, "fy": 1, "cx": 1, "cy": 1}', "fx=True; a number"),
        ('{"fx": NaN, "fy": 1, "cx": 1, "cy": 1}', "fx=nan; a number"),
        ('{"fx": 0, "fy": 1, "cx": 1, "cy": 1}', "fx=0; a number above 0"),
        ('{"fx": 1, "fy": 1, "cx": 1, "cy": 1, "depth_scale": -1}', "depth_scale=-1; a number above 0"),
        ('{"fx": 1, "fy": 1, "cx": 1, "cy": 1, "unit": "inch"}', "unit='inch'; give one of m, cm, mm, um"),
        ('{"fx": 1, "fy": 1, "cx": 1, "cy": 1, "unit": ["mm"]}', "unit=.*; give one of m, cm, mm, um"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "camera.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=rf"camera\.json: {message}"):
        read_intrinsics(file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.json: no such file of intrinsics"):
        read_intrinsics(tmp_path / "nowhere.json")
