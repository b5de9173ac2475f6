# SPDX-License-Identifier: Apache-2.0
"""The sensors: output of a 3D scanner and a colour camera, with noise and missing points."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from anomalib_clip3dad.toy.lighting import shadow_depth
from anomalib_clip3dad.toy.pinhole import Pose
from anomalib_clip3dad.toy.relief import Field, Mask, cell_of
from anomalib_clip3dad.toy.tracing import Hit

RANGE_NOISE = 0.00013  # metres, standard deviation along the ray
_PROJECTOR = np.array([0.20, 0.0, -1.0])  # camera frame, direction to the pattern projector beside the camera
_SPECK_SHARE = 0.012


class Sensor(NamedTuple):
    """All noise of one shot, drawn independently of the part, so that twins share it.

    Args:
        range_noise: (H, W) metres along z.
        specks: (H, W), true where the scanner found no match.
        grain: (H, W, 3) noise of the colour camera in grey levels.
    """

    range_noise: Field
    specks: Mask
    grain: Field


def draw_sensor(rng: np.random.Generator, size: tuple[int, int]) -> Sensor:
    """Draw the noise of one shot.

    Args:
        rng: Random generator.
        size: (height, width) in pixels.

    Returns:
        The noise; specks are single pixels and two-by-two blocks.
    """
    seeds = rng.random(size)
    specks = seeds < _SPECK_SHARE / 2
    blocks = seeds > 1 - _SPECK_SHARE / 8
    for shift in ((0, 0), (0, 1), (1, 0), (1, 1)):
        specks |= np.roll(blocks, shift, axis=(0, 1))
    return Sensor(rng.normal(0, RANGE_NOISE, size), specks, rng.normal(0, 1.6, (*size, 3)).astype(np.float32))


def unmeasured(height: Field, pose: Pose, hit: Hit, sensor: Sensor) -> Mask:
    """Find pixels that the scanner cannot measure: specks, and shadows of the projector.

    Args:
        height: (CELLS, CELLS) millimetres.
        pose: Where the part lies.
        hit: (H, W) what the pixels see.
        sensor: The shot's noise.

    Returns:
        (H, W), true = not measured.
    """
    row, column, inside = cell_of(hit.x, hit.y)
    hidden = shadow_depth(height, _PROJECTOR @ pose.rotation) > 0.8
    return sensor.specks | (hidden[row, column] & inside)


def measured_points(depth: Field, rays: Field, holes: Mask, sensor: Sensor) -> NDArray[np.float32]:
    """Compute the scanner's organised points.

    Args:
        depth: (H, W) true z in metres.
        rays: (H, W, 3) camera frame, z = 1.
        holes: (H, W), true = not measured.
        sensor: The shot's noise.

    Returns:
        (H, W, 3) float32 XYZ in metres, camera frame, (0, 0, 0) = not measured. The noise moves a point along its
        ray only, so it still projects to its pixel.
    """
    points = rays * (depth + sensor.range_noise)[..., None]
    return np.where(holes[..., None], 0, points).astype(np.float32)


def photograph(light: Field, oversample: int, sensor: Sensor) -> NDArray[np.uint8]:
    """Compute the colour camera's image.

    Args:
        light: (H * oversample, W * oversample, 3) linear colour.
        oversample: Samples per pixel and axis.
        sensor: The shot's noise.

    Returns:
        (H, W, 3) uint8, display-encoded.
    """
    corners = [light[i::oversample, j::oversample] for i in range(oversample) for j in range(oversample)]
    pixels = sum(corners[1:], start=corners[0]) / np.float32(oversample**2)
    encoded = 255 * np.clip(pixels, 0, 1) ** (1 / 2.2) + sensor.grain
    return np.rint(np.clip(encoded, 0, 255)).astype(np.uint8)
