# SPDX-License-Identifier: Apache-2.0
import numpy as np

from anomalib_clip3dad.toy.pinhole import draw_pose, pixel_rays, toy_camera
from anomalib_clip3dad.toy.relief import part_grid
from anomalib_clip3dad.toy.scanner import draw_sensor, measured_points, photograph, unmeasured
from anomalib_clip3dad.toy.tracing import trace

SIZE = (120, 130)


def test_noise_is_that_of_a_scanner(rng: np.random.Generator) -> None:
    sensor = draw_sensor(rng, SIZE)
    assert 0.0001 < sensor.range_noise.std() < 0.0002
    assert 0.005 < sensor.specks.mean() < 0.02


def test_points_stay_on_their_rays(rng: np.random.Generator) -> None:
    camera, sensor = toy_camera(SIZE), draw_sensor(rng, SIZE)
    rays = pixel_rays(camera, SIZE)
    points = measured_points(np.full(SIZE, 0.5), rays, sensor.specks, sensor)
    assert points.dtype == np.float32
    assert not points[sensor.specks].any()
    measured = points[~sensor.specks]
    np.testing.assert_allclose(measured / measured[:, 2:], rays[~sensor.specks], atol=1e-6)
    assert 0.0001 < measured[:, 2].std() < 0.0002


def test_shadow_band_lies_on_the_side_away_from_the_projector(rng: np.random.Generator) -> None:
    pose, sensor = draw_pose(rng), draw_sensor(rng, SIZE)
    block = np.where(part_grid().radius < 25, 30, 0).astype(np.float32)
    hit = trace(block, pose, pixel_rays(toy_camera(SIZE), SIZE))
    band = unmeasured(block, pose, hit, sensor) & ~sensor.specks
    on_block = np.hypot(hit.x, hit.y) < 25
    assert 0.003 < band.mean() < 0.02
    assert not (band & (np.hypot(hit.x, hit.y) < 24)).any()
    assert np.argwhere(band)[:, 1].mean() < np.argwhere(on_block)[:, 1].mean() - 10


def test_photograph_averages_and_encodes(rng: np.random.Generator) -> None:
    sensor = draw_sensor(rng, SIZE)._replace(grain=np.zeros((*SIZE, 3), dtype=np.float32))
    light = np.zeros((2 * SIZE[0], 2 * SIZE[1], 3), dtype=np.float32)
    light[::2, ::2] = 1.0
    picture = photograph(light, 2, sensor)
    assert picture.dtype == np.uint8
    assert picture.shape == (*SIZE, 3)
    assert (picture == round(255 * 0.25 ** (1 / 2.2))).all()
