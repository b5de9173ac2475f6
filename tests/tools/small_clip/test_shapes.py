# SPDX-License-Identifier: Apache-2.0
"""Shape families: range, outline, individuals, names; distances against slow references."""

import itertools
import math

import pytest
import torch
from small_clip import shape_parts, shapes
from torch import Tensor

SIZE = 64
LEFT_OUT = {"biscuit", "cookie", "bracket", "capsule", "pill", "gear", "toothed", "knob", "ring", "torus", "annulus"}
LEFT_OUT |= {"bagel", "waffle", "washer"}


def grid(n: int) -> tuple[Tensor, Tensor, Tensor]:
    axis = (torch.arange(SIZE) + 0.5) * (2.3 / SIZE) - 1.15
    v, u = torch.meshgrid(axis, axis, indexing="ij")
    # Turned, so that no straight side lies along the pixels.
    x, y = 0.96 * u + 0.28 * v, 0.96 * v - 0.28 * u
    return x.expand(n, -1, -1), y.expand(n, -1, -1), torch.full((n, 1, 1), 2.3 / SIZE)


def individuals() -> Tensor:
    p = torch.rand(8, 8, generator=torch.Generator().manual_seed(5))
    return torch.cat([p, torch.zeros(1, 8), torch.ones(1, 8)])


Drawn = dict[str, tuple[Tensor, Tensor]]


@pytest.fixture(scope="module")
def drawn() -> Drawn:
    """Ten individuals of each family, with edges as soft as the pixels are wide and with hard ones."""
    p = individuals()
    x, y, soft = grid(len(p))
    families = {shape.names[0]: shape.height for shape in shapes.SHAPES}
    return {name: (height(x, y, p, soft), height(x, y, p, soft * 1e-5)) for name, height in families.items()}


def test_heights_and_outlines(drawn: Drawn) -> None:
    x, y, _ = grid(10)
    rho = torch.hypot(x, y)
    for name, (height, _) in drawn.items():
        part = height > 0.039
        assert height.shape == x.shape, name
        assert height.dtype == torch.float32, name
        assert 0 <= height.min() <= height.max() <= 0.6, name  # and no NaN
        assert (height[rho > 1] == 0).all(), name
        share = part.float().mean((1, 2)) * (2.3**2 / math.pi)
        assert 0.03 < share.min() <= share.max() < 1, name
        assert ((rho * part).amax((1, 2)) > 0.72).all(), name


def test_inner_points_have_the_least_height(drawn: Drawn) -> None:
    # Where the pixels are so small that no edge is under them, a point is either off the part or at least 0.04 high.
    for name, (_, hard) in drawn.items():
        assert ((hard > 0) & (hard < 0.0399)).float().mean() < 1e-3, name


def test_individuals_differ(drawn: Drawn) -> None:
    i, j = torch.triu_indices(10, 10, 1)
    for name, (height, _) in drawn.items():
        assert ((height[i] - height[j]).abs().amax((1, 2)) > 0.01).all(), name


def test_individuals_do_not_know_each_other(drawn: Drawn) -> None:
    p = individuals()
    x, y, soft = grid(len(p))
    for shape in shapes.SHAPES:
        alone = shape.height(x[2:3], y[2:3], p[2:3], soft[2:3])[0]
        torch.testing.assert_close(alone, drawn[shape.names[0]][0][2], rtol=0, atol=1e-4, msg=shape.names[0])


def test_edges_are_antialiased(drawn: Drawn) -> None:
    # A hard step has no heights between 0 and the least height of a part.
    for name, (height, hard) in drawn.items():
        border = ((hard[:, 1:] > 0) != (hard[:, :-1] > 0)).sum()
        partly = ((height > 0) & (height < 0.039)).sum()
        assert partly > 0.1 * border, name


def test_names_are_distinct_and_none_is_of_toy3d() -> None:
    names = [name for shape in shapes.SHAPES for name in shape.names]
    assert len(names) == len(set(names))
    assert not LEFT_OUT & {word for name in names for word in name.lower().replace("-", " ").split()}


def test_polygon_is_the_largest_half_plane_distance() -> None:
    x, y, _ = grid(1)
    for k in (3, 5, 6):
        planes = [x * math.cos(t) + y * math.sin(t) - 0.5 for t in (2 * math.pi * i / k for i in range(k))]
        torch.testing.assert_close(shape_parts.polygon(x, y, k, 0.5), torch.stack(planes).amax(0))


def test_hexagons_are_the_cells_of_the_nearest_centre() -> None:
    x, y, _ = grid(1)
    pitch, best = 0.3, torch.full_like(x, 9)
    for i, j in itertools.product(range(-12, 13), range(-6, 7)):
        for shift in (0, 0.5):
            u, v = x - (i + shift) * pitch, y - (j + shift) * 3**0.5 * pitch
            axes = [u * math.cos(t) + v * math.sin(t) for t in (math.pi / 3 * m for m in range(6))]
            best = torch.minimum(best, torch.stack(axes).amax(0))
    torch.testing.assert_close(shape_parts.hexagons(x, y, pitch), best)


def test_stadium_is_the_distance_to_points_of_the_segment() -> None:
    x, y, _ = grid(1)
    points = torch.linspace(-0.4, 0.4, 801)[:, None, None]
    slow = torch.hypot(x - points, y).amin(0, keepdim=True)
    torch.testing.assert_close(shape_parts.stadium(x, y, 0.4), slow, rtol=0, atol=1e-3)


def test_star_passes_through_its_points_and_notches() -> None:
    k, outer, inner = torch.tensor(5.0), 0.9, 0.4
    turn = 2 * math.pi / 5 * torch.arange(5)
    for radius, angle in ((outer, turn), (inner, turn + math.pi / 5)):
        d = shape_parts.star(radius * angle.cos(), radius * angle.sin(), k, outer, inner)
        torch.testing.assert_close(d, torch.zeros(5), rtol=0, atol=1e-5)
