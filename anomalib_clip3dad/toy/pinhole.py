# SPDX-License-Identifier: Apache-2.0
"""The pinhole camera and the pose of the part in front of it."""

from typing import NamedTuple

import numpy as np

from anomalib_clip3dad.toy.relief import Field

MILLIMETRE = 0.001  # metres


class Camera(NamedTuple):
    """Intrinsics in pixels; pixel (0, 0) has its centre at u = 0, v = 0.

    A point (x, y, z) of the camera frame (x right, y down, z forward) is seen at u = fx x / z + cx, v = fy y / z + cy.
    """

    fx: float
    fy: float
    cx: float
    cy: float


class Pose(NamedTuple):
    """Pose of the part frame in the camera frame: point_camera = origin + scale * rotation @ point_part.

    Args:
        rotation: (3, 3), columns = axes of the part frame in the camera frame.
        origin: (3,) metres, where the part is on the table.
        scale: Metres per part millimetre, close to 0.001.
    """

    rotation: Field
    origin: Field
    scale: float


def toy_camera(size: tuple[int, int] = (240, 240)) -> Camera:
    """Camera of all Toy3D images of a size.

    Args:
        size: (height, width) in pixels.

    Returns:
        Intrinsics; at 0.5 m the shorter side of the image spans 155 mm.

    Example:
        >>> toy_camera((240, 320))
        Camera(fx=774.1935483870968, fy=774.1935483870968, cx=159.5, cy=119.5)
    """
    height, width = size
    focal = min(height, width) * 0.5 / 0.155
    return Camera(focal, focal, (width - 1) / 2, (height - 1) / 2)


def draw_pose(rng: np.random.Generator) -> Pose:
    """Draw the pose of a part on a tilted table.

    Args:
        rng: Source of the pose: table tilted by 5-15 degrees in any direction, part rotated by up to 30 degrees (so
            that a few reference images can represent all), shifted by up to 5 mm, 3 % larger or smaller, at 0.48-0.52
            m.

    Returns:
        The pose.

    Example:
        >>> pose = draw_pose(np.random.default_rng(0))
        >>> bool(pose.rotation[2, 2] < -0.96)  # the table faces the camera
        True
    """
    tilt, towards, turn = np.radians([rng.uniform(5, 15), rng.uniform(0, 360), rng.uniform(-30, 30)])
    axis = np.array([[0, 0, np.sin(towards)], [0, 0, -np.cos(towards)], [-np.sin(towards), np.cos(towards), 0]])
    lean = np.eye(3) + np.sin(tilt) * axis + (1 - np.cos(tilt)) * axis @ axis  # Rodrigues
    spin = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    face_camera = np.diag([1.0, -1.0, -1.0])
    rotation = lean @ face_camera @ spin
    shift = lean @ np.array([rng.uniform(-0.005, 0.005), rng.uniform(-0.005, 0.005), 0])
    origin = np.array([0, 0, rng.uniform(0.48, 0.52)]) + shift
    return Pose(rotation, origin, MILLIMETRE * rng.uniform(0.97, 1.03))


def pixel_rays(camera: Camera, size: tuple[int, int], oversample: int = 1) -> Field:
    """Compute viewing directions with z = 1, so that a ray's parameter is the depth z.

    Args:
        camera: Intrinsics for ``size``.
        size: (height, width) in pixels.
        oversample: Rays per pixel and axis, evenly spaced over the pixel; 1 = through its centre.

    Returns:
        (height * oversample, width * oversample, 3), camera frame.

    Example:
        >>> pixel_rays(Camera(100.0, 100.0, 1.0, 1.0), (3, 3))[1, 2].tolist()
        [0.01, 0.0, 1.0]
    """
    rows, columns = ((np.arange(n * oversample) + 0.5) / oversample - 0.5 for n in size)
    x, y = np.meshgrid((columns - camera.cx) / camera.fx, (rows - camera.cy) / camera.fy)
    return np.stack([x, y, np.ones_like(x)], axis=-1)


def to_part(pose: Pose, directions: Field) -> tuple[Field, Field]:
    """Transform rays from the camera frame to the part frame.

    Args:
        pose: Pose of the part.
        directions: (..., 3) in the camera frame.

    Returns:
        The camera's centre (3,) in part millimetres, and the directions (..., 3) in part millimetres per metre of z.
    """
    return -(pose.origin @ pose.rotation) / pose.scale, directions @ pose.rotation / pose.scale
