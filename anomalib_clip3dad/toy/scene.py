# SPDX-License-Identifier: Apache-2.0
"""A normal part on the table, photographed and scanned; its defective twin is taken under the same conditions."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from anomalib_clip3dad.toy.lighting import Light, draw_light, exposure, lit_colour, paint_table, table_brightness
from anomalib_clip3dad.toy.materials import table
from anomalib_clip3dad.toy.parts import build_part
from anomalib_clip3dad.toy.pinhole import Pose, draw_pose, pixel_rays, toy_camera
from anomalib_clip3dad.toy.relief import Field, Mask, Relief, cell_of
from anomalib_clip3dad.toy.scanner import Sensor, draw_sensor, measured_points, photograph, unmeasured
from anomalib_clip3dad.toy.tracing import Hit, trace

_OVERSAMPLE = 2  # colour rays per pixel and axis, for antialiasing


class Scene(NamedTuple):
    """One normal part and everything that its twin shares.

    Args:
        part: The normal part, part frame.
        table: (CELLS, CELLS, 3) linear colour of the mat.
        pose: Pose of the part.
        light: The lamp.
        reaching: Share of direct and ambient light that reaches the normal part's cells. The twin keeps it, so that
            no shadow changes outside its defect.
        sensor: Noise of the shot.
        rays: (H, W, 3) through the pixels' centres.
        fine_rays: (2 H, 2 W, 3) for the colours.
        hit: (H, W), points of the normal part that the pixels see.
        fine_hit: (2 H, 2 W), the same for the colours.
        holes: (H, W), true = not measured.
        on_part: (H, W), true where the normal part is seen.
    """

    part: Relief
    table: Field
    pose: Pose
    light: Light
    reaching: tuple[Field, Field]
    sensor: Sensor
    rays: Field
    fine_rays: Field
    hit: Hit
    fine_hit: Hit
    holes: Mask
    on_part: Mask


def build_scene(category: str, size: tuple[int, int], streams: list[np.random.Generator]) -> Scene:
    """Build a part, place it, light it and trace what the camera sees.

    Args:
        category: One of ``CATEGORIES``.
        size: (height, width) in pixels.
        streams: Random generators of the part, of pose and light, and of the shot.

    Returns:
        The scene.
    """
    of_part, of_scene, of_shot = streams
    part, mat = build_part(category, of_part), table(of_scene)
    pose, light, sensor = draw_pose(of_scene), draw_light(of_scene), draw_sensor(of_shot, size)
    camera = toy_camera(size)
    rays, fine_rays = pixel_rays(camera, size), pixel_rays(camera, size, _OVERSAMPLE)
    hit, fine_hit = trace(part.height, pose, rays), trace(part.height, pose, fine_rays)
    holes = unmeasured(part.height, pose, hit, sensor)
    reaching = exposure(part.height, light, pose)
    on_part = seen(part.height > 0, hit)
    return Scene(part, mat, pose, light, reaching, sensor, rays, fine_rays, hit, fine_hit, holes, on_part)


def seen(cells: Mask, hit: Hit) -> Mask:
    """Project marked cells of the part to the image.

    Args:
        cells: (CELLS, CELLS), true = marked.
        hit: (H, W), points that the pixels see.

    Returns:
        (H, W), true where a pixel sees a marked cell.
    """
    row, column, inside = cell_of(hit.x, hit.y)
    return cells[row, column] & inside


def picture(scene: Scene, part: Relief) -> NDArray[np.uint8]:
    """Photograph a part in a scene.

    Args:
        scene: The conditions.
        part: The normal part or an edited one.

    Returns:
        (H, W, 3) uint8.
    """
    same_surface = part.height is scene.part.height
    hit = scene.fine_hit if same_surface else trace(part.height, scene.pose, scene.fine_rays)
    row, column, inside = cell_of(hit.x, hit.y)
    colour = lit_colour(paint_table(part, scene.table), scene.reaching, scene.light, scene.pose)
    light = colour[row, column]
    beyond = ~inside
    light[beyond] = scene.table[row[beyond], column[beyond]] * table_brightness(scene.light, scene.pose)
    return photograph(light, _OVERSAMPLE, scene.sensor)


def scan(scene: Scene, depth: Field) -> NDArray[np.float32]:
    """Scan the scene.

    Args:
        scene: The conditions; the holes are those of the normal part.
        depth: (H, W), true z in metres.

    Returns:
        (H, W, 3) float32 XYZ, metres, camera frame, (0, 0, 0) = not measured.
    """
    return measured_points(depth, scene.rays, scene.holes, scene.sensor)
