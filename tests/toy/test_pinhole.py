# SPDX-License-Identifier: Apache-2.0
import numpy as np

from anomalib_clip3dad.toy.pinhole import Camera, draw_pose, pixel_rays, to_part, toy_camera


def test_rays_project_to_their_pixels() -> None:
    size = (6, 9)
    camera = toy_camera(size)
    rays = pixel_rays(camera, size)
    rows, columns = np.mgrid[:6, :9]
    np.testing.assert_allclose(camera.fx * rays[..., 0] + camera.cx, columns, atol=1e-9)
    np.testing.assert_allclose(camera.fy * rays[..., 1] + camera.cy, rows, atol=1e-9)


def test_finer_rays_average_to_the_pixels_centres() -> None:
    camera = Camera(50.0, 60.0, 2.0, 1.5)
    fine = pixel_rays(camera, (4, 5), 3).reshape(4, 3, 5, 3, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(fine, pixel_rays(camera, (4, 5)), atol=1e-12)


def test_pose_is_a_rotation_within_its_limits() -> None:
    for seed in range(20):
        pose = draw_pose(np.random.default_rng(seed))
        np.testing.assert_allclose(pose.rotation @ pose.rotation.T, np.eye(3), atol=1e-12)
        assert np.isclose(np.linalg.det(pose.rotation), 1)
        assert 5 <= np.degrees(np.arccos(-pose.rotation[2, 2])) <= 15
        assert 0.47 < pose.origin[2] < 0.53
        assert 0.00097 <= pose.scale <= 0.00103


def test_to_part_inverts_the_pose() -> None:
    pose = draw_pose(np.random.default_rng(0))
    point_part = np.array([12.0, -7.0, 20.0])
    point = pose.origin + pose.scale * pose.rotation @ point_part
    centre, direction = to_part(pose, point / point[2])
    np.testing.assert_allclose(centre + direction * point[2], point_part, atol=1e-9)
