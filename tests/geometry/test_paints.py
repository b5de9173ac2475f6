# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch

from anomalib_clip3dad.errors import InputError
from anomalib_clip3dad.geometry import PAINTS, check_paint, place_camera, rotate, view_rotations
from anomalib_clip3dad.geometry.paints import paint_points
from anomalib_clip3dad.geometry.shading import head_light, surface_normals

from .scenes import bumpy

VIEWS = (1, 14, 27)


def painted(paint: str) -> tuple[torch.Tensor, ...]:
    image, xyz, foreground = bumpy(2, 20, 26)
    xyz = xyz.where(foreground[:, None], 0.5)
    camera, rotations = place_camera(xyz, foreground, 48), view_rotations(VIEWS)
    turned = rotate(xyz.flatten(2), rotations, camera.centre)
    return paint_points(paint, image, xyz, foreground, turned, rotations, camera), image, xyz, foreground, turned


def test_light_multiplies_the_colours_or_a_grey() -> None:
    colour, image, xyz, foreground, turned = painted("colour")
    assert torch.equal(colour, image.flatten(2)[:, None])
    normals = surface_normals(xyz, foreground).flatten(2)
    light = head_light(normals, turned, view_rotations(VIEWS), place_camera(xyz, foreground, 48))[:, :, None]
    torch.testing.assert_close(painted("lit")[0], colour * light)
    torch.testing.assert_close(painted("grey")[0], 0.7 * light)


def test_depth_is_relative_to_the_nearest_and_the_farthest_point_of_a_view() -> None:
    depth, _, _, foreground, turned = painted("depth")
    inside = foreground.flatten(1)[0]
    for view in range(len(VIEWS)):
        far = turned[0, view, 2].tolist()
        shown = [z for z, is_inside in zip(far, inside.tolist(), strict=True) if is_inside]
        for n in inside.nonzero().flatten().tolist():
            expected = 0.9 * (far[n] - min(shown)) / (max(shown) - min(shown))
            assert depth[0, view, 0, n].item() == pytest.approx(expected, abs=1e-4)


def test_depth_of_a_plane_that_faces_the_viewer_is_black() -> None:
    flat = torch.zeros(1, 3, 8, 8)
    flat[:, 2] = 0.5
    everywhere = torch.ones(1, 8, 8, dtype=torch.bool)
    turned = flat.flatten(2)[:, None]
    assert not paint_points("depth", flat, flat, everywhere, turned, torch.eye(3)[None], None).any()  # type: ignore[arg-type]


def test_normals_are_red_to_the_right_green_upwards_blue_towards_the_viewer() -> None:
    colours, _, xyz, foreground, _ = painted("normals")
    normals = surface_normals(xyz, foreground).flatten(2)[0]
    for view, rotation in enumerate(view_rotations(VIEWS)):
        for n in foreground.flatten(1)[0].nonzero().flatten().tolist()[::7]:
            x, y, z = (rotation @ normals[:, n]).tolist() if normals[:, n].any() else (0.0, 0.0, -1.0)
            assert math.hypot(x, y, z) == pytest.approx(1, abs=1e-4)
            expected = [(x + 1) / 2, (1 - y) / 2, (1 - z) / 2]
            assert colours[0, view, :, n].tolist() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("paint", "views", "channels"),
    [("colour", 1, 3), ("lit", 3, 3), ("grey", 3, 1), ("depth", 3, 1), ("normals", 3, 3)],
)
def test_points_of_a_batch_look_like_those_of_its_samples(paint: str, views: int, channels: int) -> None:
    samples = [bumpy(seed, 20, 26) for seed in (2, 3)]
    samples[1][2][:, :, 15:] = False
    rotations = view_rotations(VIEWS)

    def paints(image: torch.Tensor, xyz: torch.Tensor, foreground: torch.Tensor) -> torch.Tensor:
        xyz = xyz.where(foreground[:, None], 0.5)
        camera = place_camera(xyz, foreground, 48)
        turned = rotate(xyz.flatten(2), rotations, camera.centre)
        return paint_points(paint, image, xyz, foreground, turned, rotations, camera)

    together = paints(*(torch.cat(part) for part in zip(*samples, strict=True)))
    assert together.shape == (2, views, channels, 520)
    for found, sample in zip(together, samples, strict=True):
        torch.testing.assert_close(found, paints(*sample)[0])


def test_unknown_paints_are_named() -> None:
    for paint in PAINTS:
        check_paint(paint)
    with pytest.raises(InputError, match="view_paint='gold': give one of colour, lit, grey, depth, normals"):
        check_paint("gold")
