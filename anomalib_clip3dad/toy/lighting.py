# SPDX-License-Identifier: Apache-2.0
"""Lighting of the part: diffuse and ambient light with soft occlusion, a weak highlight, and cast shadows."""

from typing import NamedTuple

import numpy as np

from anomalib_clip3dad.toy.noise import smooth
from anomalib_clip3dad.toy.pinhole import Pose
from anomalib_clip3dad.toy.relief import CELL_MM, Field, Mask, Relief

_HALF = 2 * CELL_MM  # shadows are soft, so half the resolution is enough


class Light(NamedTuple):
    """One lamp above the table.

    Args:
        towards: (3,) unit vector from the part to the lamp, camera frame.
        power: Strength of the direct light.
        ambient: Strength of the light from all directions.
        tint: (3,) colour of the direct light.
    """

    towards: Field
    power: float
    ambient: float
    tint: Field


def draw_light(rng: np.random.Generator) -> Light:
    """Draw a lamp behind the part on the left, slightly different for every image.

    Args:
        rng: Source of direction (+-5 to 8 degrees), strength (+-5 %) and tint (+-2 %).

    Returns:
        The light.
    """
    elevation, azimuth = np.radians([rng.uniform(56, 66), rng.uniform(217, 233)])
    flat = np.cos(elevation)
    towards = np.array([flat * np.cos(azimuth), flat * np.sin(azimuth), -np.sin(elevation)])
    return Light(towards, 0.82 * rng.uniform(0.95, 1.05), 0.34 * rng.uniform(0.92, 1.08), rng.uniform(0.98, 1.02, 3))


def shadow_depth(height: Field, towards: Field) -> Field:
    """Compute how far each cell is below the line of sight to a lamp or projector.

    Args:
        height: (CELLS, CELLS) millimetres.
        towards: (3,) direction to the source in the part frame, z > 0.

    Returns:
        (CELLS, CELLS) millimetres; > 0 in shadow, 0 in the light.
    """
    coarse = height[::2, ::2]
    run = float(np.hypot(towards[0], towards[1]))
    reach = coarse.max() * run / towards[2]
    distances = np.arange(1, int(np.ceil(reach)) + 1)
    deepest = np.zeros_like(coarse)
    for distance in distances:
        column, row = (round(float(-distance * t / run / _HALF)) for t in towards[:2])
        blocker = coarse[_overlap(-row), _overlap(-column)] - np.float32(distance * towards[2] / run)
        behind = _overlap(row), _overlap(column)
        np.maximum(deepest[behind], blocker - coarse[behind], out=deepest[behind])
    return deepest.repeat(2, axis=0).repeat(2, axis=1)


def _overlap(shift: int) -> slice:
    """Cells of an axis that are still on it after moving back by ``shift``."""
    return slice(max(shift, 0), min(shift, 0) or None)


def exposure(height: Field, light: Light, pose: Pose) -> tuple[Field, Field]:
    """Compute how much direct and ambient light reaches each cell.

    Args:
        height: (CELLS, CELLS) millimetres.
        light: The lamp.
        pose: Pose of the part.

    Returns:
        Direct and ambient share, (CELLS, CELLS) each, in [0, 1].
    """
    shadow = np.clip(shadow_depth(height, light.towards @ pose.rotation) / 3.0, 0, 1)
    direct = 1 - smooth(shadow[::2, ::2], 0.7, _HALF)
    coarse = height[::2, ::2]
    dip = np.maximum(smooth(coarse, 4.0, _HALF) - coarse, 0)
    ambient = 1 / (1 + 0.09 * dip)
    return direct.repeat(2, axis=0).repeat(2, axis=1), ambient.repeat(2, axis=0).repeat(2, axis=1)


def lit_colour(relief: Relief, reaching: tuple[Field, Field], light: Light, pose: Pose) -> Field:
    """Compute the colour that each cell sends to the camera.

    Args:
        relief: The part; its albedo includes that of the table.
        reaching: Direct and ambient share from ``exposure``.
        light: The lamp.
        pose: Pose of the part.

    Returns:
        (CELLS, CELLS, 3) linear, about [0, 1].
    """
    # A vertical wall is a staircase of cells; without slight blurring its normals would jump from cell to cell.
    down, right = np.gradient(smooth(relief.height, 0.4, CELL_MM), np.float32(CELL_MM))
    length = np.sqrt(right**2 + down**2 + 1)
    lamp = (light.towards @ pose.rotation).astype(np.float32)
    diffuse = np.maximum((lamp[2] - right * lamp[0] - down * lamp[1]) / length, 0) * reaching[0]
    eye = (pose.rotation.T @ np.array([0, 0, -1.0])).astype(np.float32)
    between = (lamp + eye) / np.linalg.norm(lamp + eye)
    shine = np.maximum((between[2] - right * between[0] - down * between[1]) / length, 0) ** 24 * reaching[0]
    shine = relief.gloss * shine * (relief.height > 0)
    direct = (light.power * light.tint).astype(np.float32)
    lit = relief.albedo * (diffuse[..., None] * direct + np.float32(light.ambient) * reaching[1][..., None])
    return lit + shine[..., None] * direct


def table_brightness(light: Light, pose: Pose) -> Field:
    """Compute the factor for the bare table's albedo far from any part that continues ``lit_colour`` seamlessly.

    Args:
        light: The lamp.
        pose: Pose of the table.

    Returns:
        (3,) float32.
    """
    lamp = light.towards @ pose.rotation
    return (max(lamp[2], 0) * light.power * light.tint + light.ambient).astype(np.float32)


def paint_table(relief: Relief, table: Field) -> Relief:
    """Give the table's colour to cells without the part.

    Args:
        relief: The part.
        table: (CELLS, CELLS, 3) linear.

    Returns:
        The part with the albedo of part and table.
    """
    on_part: Mask = relief.height > 0
    return relief._replace(albedo=np.where(on_part[..., None], relief.albedo, table))
