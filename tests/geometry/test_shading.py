# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch

from anomalib_clip3dad.geometry import MultiViewRenderer, place_camera, rotate, view_rotations
from anomalib_clip3dad.geometry.shading import head_light, surface_normals


def sphere(size: int = 64, noise: float = 0.0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The near side of a ball of 0.1 m, 0.6 m away: cloud, foreground, true normals."""
    line = torch.linspace(-0.08, 0.08, size)
    x, y = line.expand(size, size), line[:, None].expand(size, size)
    z = 0.6 - (0.01 - x**2 - y**2).clamp(min=0).sqrt()
    xyz = torch.stack([x, y, z])
    inside = x**2 + y**2 < 0.07**2
    normals = (xyz - torch.tensor([0, 0, 0.6])[:, None, None]) / 0.1
    xyz[2] += noise * torch.randn(size, size)
    return xyz[None].where(inside, 0.0), inside[None], normals[None]


@pytest.mark.parametrize(("noise", "degrees"), [(0.0, 1.5), (0.0002, 4.0)])
def test_normals_of_a_sphere(noise: float, degrees: float) -> None:
    xyz, inside, expected = sphere(noise=noise)
    found = surface_normals(xyz, inside)
    torch.testing.assert_close(found.norm(dim=1)[inside], torch.ones(int(inside.sum())))
    inner = torch.nn.functional.avg_pool2d(inside.float()[:, None], 9, 1, 4)[:, 0] == 1
    cosine = (found * expected).sum(dim=1)[inner].clamp(-1, 1)
    assert math.degrees(cosine.acos().mean()) < degrees


def test_normals_are_unknown_outside_and_alone() -> None:
    xyz, inside, _ = sphere()
    assert (surface_normals(xyz, inside).permute(0, 2, 3, 1)[~inside] == 0).all()
    lonely = torch.zeros_like(inside)
    lonely[0, 32, 32] = True
    assert (surface_normals(xyz, lonely) == 0).all()


def test_normals_need_no_defined_numbers_outside() -> None:
    xyz, inside, _ = sphere()
    spoiled = xyz.where(inside[:, None], torch.nan)
    assert torch.equal(surface_normals(spoiled, inside), surface_normals(xyz, inside))


def lattice(right: tuple[float, ...], down: tuple[float, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """Cloud of 11 x 11 points at z = 0.5 with these steps; all but the outermost count."""
    step = torch.arange(11.0) - 5
    xyz = torch.stack([a * step + b * step[:, None] for a, b in zip(right, down, strict=True)])
    xyz[2] += 0.5
    foreground = torch.zeros(1, 11, 11, dtype=torch.bool)
    foreground[:, 1:-1, 1:-1] = True
    return xyz[None], foreground


@pytest.mark.parametrize(("sine", "known"), [(0.7e-3, False), (1.4e-3, True)])
def test_parallel_steps_have_no_normal(sine: float, known: bool) -> None:
    found = surface_normals(*lattice((0.01, 0.0, 0.0), (0.01 * math.sqrt(1 - sine**2), 0.01 * sine, 0.0)))
    assert found[0, :, 5, 5].tolist() == pytest.approx([0, 0, -known], abs=1e-4)


@pytest.mark.parametrize(("share", "known"), [(0.7e-5, False), (1.4e-5, True)])
@pytest.mark.parametrize("along_rows", [False, True])
def test_steps_of_hundred_thousandths_of_the_cloud_have_no_normal(share: float, known: bool, along_rows: bool) -> None:
    """A step is the difference of both neighbours, two pitches; the cloud reaches four pitches from its middle."""
    long, short = 0.01, share * 4 * 0.01 / 2
    steps = ((short, 0.0, 0.0), (0.0, long, 0.0)) if along_rows else ((long, 0.0, 0.0), (0.0, short, 0.0))
    found = surface_normals(*lattice(*steps))
    assert found[0, :, 5, 5].tolist() == pytest.approx([0, 0, -known], abs=1e-4)


def test_a_cloud_reaches_to_its_farthest_point_on_either_side() -> None:
    for far in (-0.4, 0.4):
        xyz, foreground = lattice((0.01, 0.0, 0.0), (0.0, 1e-6, 0.0))
        xyz[0, 1, 1, 1] = far  # beyond the window of the point in the middle
        assert not surface_normals(xyz, foreground)[0, :, 5, 5].any()


def test_normals_far_away_are_as_exact_as_near_by() -> None:
    """Multiples of 2^-20 m at 4 m, which float32 holds exactly, as no sum of 25 such positions would be."""
    step = torch.arange(11.0) * 2**-12
    xyz = torch.stack(torch.broadcast_tensors(step, step[:, None], 4 + step * 205 / 256))[None]
    found = surface_normals(xyz, torch.ones(1, 11, 11, dtype=torch.bool))
    length = math.hypot(1, 205 / 256)
    assert found[0, :, 5, 5].tolist() == pytest.approx([205 / 256 / length, 0, -1 / length], abs=1e-5)


def test_normals_of_a_plane_are_exact_up_to_a_ragged_border() -> None:
    xyz, foreground = lattice((0.01, 0.0, 0.004), (0.002, 0.01, -0.003))
    foreground &= torch.rand(1, 11, 11) < 0.8
    known = (found := surface_normals(xyz, foreground)).square().sum(dim=1) > 0
    assert known.sum() > 50
    normal = torch.linalg.cross(torch.tensor([0.002, 0.01, -0.003]), torch.tensor([0.01, 0.0, 0.004]))
    expected = (normal / normal.norm()).expand(int(known.sum()), 3)
    torch.testing.assert_close(found.movedim(1, -1)[known], expected, atol=1e-4, rtol=0)


def test_normals_of_a_batch_are_those_of_its_samples() -> None:
    xyz, inside, _ = sphere(24)
    other, some = 2 * xyz + 0.1 * xyz.flip(3), inside & (torch.arange(24) < 13)
    together = surface_normals(torch.cat([xyz, other]), torch.cat([inside, some]))
    assert together.shape == (2, 3, 24, 24)
    for found, cloud, foreground in zip(together, (xyz, other), (inside, some), strict=True):
        torch.testing.assert_close(found, surface_normals(cloud, foreground)[0])
    assert not surface_normals(xyz, torch.zeros_like(inside)).any()


def test_head_light_is_the_cosine_to_the_line_of_sight() -> None:
    xyz, inside, normals = sphere(16)
    rotations, camera = view_rotations((1, 19)), place_camera(xyz, inside, 48)
    turned = rotate(xyz.flatten(2), rotations, camera.centre)
    light = head_light(normals.flatten(2), turned, rotations, camera)
    assert light.shape == (1, 2, 256)
    for view, rotation in enumerate(rotations):
        for point in torch.nonzero(inside.flatten())[:, 0][::7].tolist():
            sight = turned[0, view, :, point] - camera.eye[0, 0]
            expected = -(rotation @ normals[0].flatten(1)[:, point]) @ sight / sight.norm()
            torch.testing.assert_close(light[0, view, point], expected.clamp(0, 1))


def test_head_light_of_two_samples_with_some_normals_unknown() -> None:
    xyz, inside, _ = sphere(16)
    clouds, rotations = torch.cat([xyz, xyz + 0.1]), view_rotations((1, 19))
    camera = place_camera(clouds, inside.repeat(2, 1, 1), 48)
    turned = rotate(clouds.flatten(2), rotations, camera.centre)
    # some along an axis, some from it, some unknown
    normals = torch.nn.functional.normalize(torch.randn(2, 3, 256) * (torch.rand(2, 3, 256) < 0.5), dim=1)
    light = head_light(normals, turned, rotations, camera)
    for sample, view, point in torch.cartesian_prod(torch.arange(2), torch.arange(2), torch.arange(0, 256, 9)).tolist():
        normal, sight = normals[sample, :, point], turned[sample, view, :, point] - camera.eye[sample, 0]
        cosine = -(rotations[view] @ normal) @ sight / sight.norm() if normal.any() else torch.tensor(1.0)
        torch.testing.assert_close(light[sample, view, point], cosine.clamp(0, 1))


def test_where_the_normal_is_unknown_nothing_darkens() -> None:
    xyz, inside, _ = sphere(16)
    camera = place_camera(xyz, inside, 48)
    turned = rotate(xyz.flatten(2), view_rotations((1,)), camera.centre)
    assert (head_light(torch.zeros(1, 3, 256), turned, view_rotations((1,)), camera) == 1).all()


def test_shaded_views_darken_the_unshaded_ones_and_leave_the_rest() -> None:
    xyz, inside, _ = sphere()
    image = torch.rand(1, 3, 64, 64)
    plain, shaded = (MultiViewRenderer((1, 5), 48, paint)(image, xyz, inside) for paint in ("colour", "lit"))
    assert torch.equal(plain.positions, shaded.positions)
    assert torch.equal(plain.visible, shaded.visible)
    assert (shaded.images <= plain.images + 1e-6).all()
    factor = (shaded.images / plain.images.clamp(min=1e-3))[0, 0, :, 24, 24]
    assert factor.min() > 0.97  # the middle of the ball faces the camera
    white = (plain.images == 1).all(dim=2)
    assert (shaded.images.permute(0, 1, 3, 4, 2)[white] == 1).all()


def test_grey_views_are_lit_views_of_a_grey_part() -> None:
    xyz, inside, _ = sphere()
    image = torch.rand(1, 3, 64, 64)
    found = MultiViewRenderer((1, 5), 48, "grey")(image, xyz, inside)
    expected = MultiViewRenderer((1, 5), 48, "lit")(torch.full_like(image, 0.7), xyz, inside)
    assert found.images.shape == expected.images.shape
    torch.testing.assert_close(found.images, expected.images)


def test_a_paint_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="view_paint='gray': give one of colour, lit, grey"):
        MultiViewRenderer(paint="gray")


def test_a_bump_of_one_colour_shows_in_lit_views_alone() -> None:
    xyz, inside, _ = sphere()
    image = torch.full((1, 3, 64, 64), 0.5)
    bump = xyz.clone()
    bump[:, 2, 28:36, 28:36] -= 0.004
    differences = []
    for paint in ("colour", "lit", "grey"):
        renderer = MultiViewRenderer((1,), 48, paint)
        views = [renderer(image, cloud, inside).images for cloud in (xyz, bump)]
        differences.append((views[0] - views[1])[..., 14:34, 14:34].abs().max().item())
    assert differences[0] < 1e-6
    assert min(differences[1:]) > 0.04
