# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest
import torch

from anomalib_clip3dad.geometry import Camera, place_camera, project, rotate, view_rotations
from anomalib_clip3dad.geometry.camera import nearest_pixels, place_in_each_view

from .scenes import bumpy


def test_camera_of_a_known_box():
    xyz = torch.full((1, 3, 2, 3), math.nan)
    # box 0.1 x 0.2 x 0.05 around (0.05, 0.3, 0.525); the mean is elsewhere
    for i, point in enumerate([(0.0, 0.2, 0.5), (0.1, 0.4, 0.55), (0.0, 0.2, 0.5), (0.0, 0.4, 0.55)]):
        xyz[0, :, i // 3, i % 3] = torch.tensor(point)
    foreground = torch.tensor([[[True, True, True], [True, False, False]]])
    camera = place_camera(xyz, foreground, size=240)
    # to 1/8192 m, and to 1/65536 m
    np.testing.assert_allclose(camera.centre[0], [205 / 8192, 2458 / 8192, 4301 / 8192], atol=1e-7)
    assert camera.distance.item() == pytest.approx(round(1.2124356 * 0.2 * 65536) / 65536)
    np.testing.assert_allclose(camera.eye[0, 0], [0.05, 0.3, 0.525 - 1.2124356 * 0.2], atol=1e-5)
    assert camera.focal == pytest.approx(207.846097)
    assert camera.principal == 119.5
    # the largest edge, at the distance of the box's centre, spans 1 / 1.4 of the image
    assert 0.2 / camera.pixel_size.item() == pytest.approx(240 / 1.4, rel=1e-4)


@pytest.mark.parametrize("points", [0, 1])
def test_camera_without_a_box_is_finite(points):
    foreground = torch.zeros(1, 4, 4, dtype=torch.bool)
    foreground[0, 0, :points] = True
    camera = place_camera(torch.full((1, 3, 4, 4), 0.5), foreground, size=32)
    assert all(part.isfinite().all() for part in camera[:3])
    # as if the part had an edge of 1 mm
    assert camera.distance.item() == pytest.approx(1.2124356e-3, abs=1 / 65536)
    assert camera.eye[0, 0].tolist() == pytest.approx(
        [0.5 * points, 0.5 * points, 0.5 * points - camera.distance.item()]
    )


def test_a_part_of_just_over_a_millimetre_has_its_share_of_the_image():
    xyz = torch.zeros(1, 3, 1, 2)
    xyz[0, 0, 0] = torch.tensor([-0.75e-3, 0.75e-3])
    camera = place_camera(xyz, torch.ones(1, 1, 2, dtype=torch.bool), size=240)
    assert 1.5e-3 / camera.pixel_size.item() == pytest.approx(240 / 1.4, rel=5e-3)


def test_equation_2_against_a_loop():
    _, xyz, _ = bumpy(0, 5, 6)
    points = xyz.flatten(2)
    rotations, centre = view_rotations([5, 14, 27]), torch.tensor([[0.01, -0.02, 0.5]])
    turned = rotate(points, rotations, centre).double().numpy()
    for k, rotation in enumerate(rotations.double().numpy()):
        for i, point in enumerate(points[0].T.double().numpy()):
            shifted = point - centre[0].double().numpy()
            expected = [sum(rotation[r, c] * shifted[c] for c in range(3)) for r in range(3)]
            np.testing.assert_allclose(turned[0, k, :, i], expected + centre[0].double().numpy(), atol=1e-7)


def test_equation_4_against_the_matrices():
    image_size = 100
    _, xyz, foreground = bumpy(1, 6, 5)
    camera = place_camera(xyz, foreground, image_size)
    points = rotate(xyz.flatten(2), view_rotations([9, 19]), camera.centre)
    pixels, depth = project(points, camera)
    focal = image_size / 2 / math.tan(math.radians(30))
    intrinsic = np.array([[focal, 0, image_size / 2 - 0.5], [0, focal, image_size / 2 - 0.5], [0, 0, 1]])
    extrinsic = np.hstack((np.eye(3), -camera.eye[0, 0].double().numpy()[:, None]))
    for k in range(2):
        for i in range(30):
            scaled = intrinsic @ extrinsic @ np.append(points[0, k, :, i].double().numpy(), 1.0)
            np.testing.assert_allclose(pixels[0, k, :, i], scaled[:2] / scaled[2], atol=1e-3)
            assert depth[0, k, i].item() == pytest.approx(scaled[2], rel=1e-5)


def test_a_point_on_the_rim_belongs_to_the_next_pixel_whatever_the_quotient_says():
    """Depth and focal length are powers of two, so that products are exact; the quotient is off as some make it."""
    eye = torch.zeros(1, 3)
    camera = Camera(eye, eye[:, None], torch.ones(1, 1), focal=64.0, principal=15.5)
    columns = torch.arange(20) - 0.5  # rims: u = k - 1/2 belongs to k
    points = torch.stack((2 * (columns - 15.5) / 64, torch.zeros(20), torch.full((20,), 2.0)))[None, None]
    pixels, depth = project(points, camera)
    for off in (-1e-5, 0.0, 1e-5):
        found = nearest_pixels(points, pixels + off, depth, camera)
        assert found[0, 0, 0].tolist() == list(range(20))


def test_a_point_just_short_of_the_rim_belongs_to_the_pixel_before_it():
    eye = torch.zeros(1, 3)
    camera = Camera(eye, eye[:, None], torch.ones(1, 1), focal=64.0, principal=15.5)
    columns = torch.arange(20) - 0.5 - 2**-12
    points = torch.stack((2 * (columns - 15.5) / 64, torch.zeros(20), torch.full((20,), 2.0)))[None, None]
    pixels, depth = project(points, camera)
    for off in (-1e-3, 0.0, 1e-3):
        found = nearest_pixels(points, pixels + off, depth, camera)
        assert found[0, 0, 0].tolist() == list(range(-1, 19))


def test_points_behind_the_camera_have_no_depth():
    eye = torch.tensor([[0.0, 0.0, 1.0]])
    camera = Camera(eye, eye[:, None], torch.ones(1, 1), focal=10.0, principal=5.0)
    points = torch.tensor([[0.1, 0.2, 0.5], [0.1, 0.2, 1.0], [0.1, 0.2, 1.5]]).T[None, None]
    pixels, depth = project(points, camera)
    assert depth[0, 0].tolist() == [math.inf, math.inf, 0.5]
    assert pixels.isfinite().all()


def test_points_within_a_tenth_of_a_millimetre_of_the_camera_have_no_depth():
    eye = torch.zeros(1, 3)
    camera = Camera(eye, eye[:, None], torch.ones(1, 1), focal=10.0, principal=5.0)
    points = torch.tensor([[0.0, 0.0, 0.9e-4], [1.1e-4, 0.0, 1.1e-4]]).T[None, None]
    pixels, depth = project(points, camera)
    assert depth[0, 0].tolist() == pytest.approx([math.inf, 1.1e-4])
    assert pixels[0, 0, :, 1].tolist() == pytest.approx([10 * 1.1e-4 / 1.1e-4 + 5, 5])


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match="`foreground` has shape"):
        place_camera(torch.ones(2, 3, 4, 4), torch.ones(4, 4, dtype=torch.bool), 32)
    with pytest.raises(ValueError, match="`xyz` has shape"):
        place_camera(torch.ones(2, 4, 4, 3), torch.ones(2, 4, 4, dtype=torch.bool), 32)
    with pytest.raises(ValueError, match=r"`points` has shape .* wanted \(B, 3, N\)"):
        rotate(torch.ones(3, 5), torch.eye(3)[None], torch.zeros(1, 3))


def test_a_camera_for_each_view_is_in_front_of_the_turned_cloud():
    _, xyz, foreground = bumpy(1, 6, 5)
    foreground = foreground.expand(1, 6, 5)
    camera, drawn = place_camera(xyz, foreground, 100), foreground.flatten(1)[:, None]
    turned = rotate(xyz.flatten(2), view_rotations([9, 19]), camera.centre)
    found = place_in_each_view(camera, turned, drawn)
    for view in range(2):
        points = turned[0, view][:, drawn[0, 0]]
        low, high = points.amin(dim=1), points.amax(dim=1)
        distance = 1.2124356 * (high - low).max().item()
        assert found.distance[0, view].item() == pytest.approx(distance, abs=1 / 65536)
        middle = (low + high) / 2
        expected = [*middle[:2].tolist(), middle[2].item() - found.distance[0, view].item()]
        assert found.eye[0, view].tolist() == pytest.approx(expected, abs=1e-6)
    assert not torch.equal(found.eye[0, 0], found.eye[0, 1])
