# SPDX-License-Identifier: Apache-2.0
import math

import torch
from small_clip import materials
from small_clip.materials import COLOURS, INDUSTRIAL, MATERIALS, Material
from torch import Tensor
from torch.nn.functional import interpolate

SIZE = 64


def arguments(material: Material, n: int = 3) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    axis = torch.linspace(-1.1, 1.1, SIZE)
    y, x = (grid.expand(n, SIZE, SIZE) for grid in torch.meshgrid(axis, axis, indexing="ij"))
    fields = []
    for cells in (64, 24, 8, 3):
        field = interpolate(torch.randn(n, 1, cells, cells, generator=generator), (SIZE, SIZE), mode="bicubic")
        fields.append((field - field.mean((2, 3), keepdim=True)) / field.std((2, 3), keepdim=True))
    colour = torch.tensor([COLOURS[material.colours[i % len(material.colours)]] for i in range(n)])
    return [x, y, torch.cat(fields, 1), colour, torch.rand(n, 4, generator=generator)]


def test_albedo_is_an_image_of_colours() -> None:
    for material in MATERIALS:
        albedo = material.albedo(*arguments(material))
        name = material.names[0]
        assert albedo.shape == (3, 3, SIZE, SIZE), name
        assert albedo.dtype == torch.float32, name
        assert 0 <= albedo.min() <= albedo.max() <= 1, name  # and no NaN
        # visible in every image; plain plastic is allowed to be plain
        assert (albedo.std((2, 3)).amax(1) > (0.001 if "plain plastic" in material.names else 0.01)).all(), name


def test_colour_has_an_influence() -> None:
    for material in MATERIALS:
        x, y, noise, colour, p = arguments(material)
        albedo = material.albedo(x, y, noise, colour, p)
        for channel in range(3):
            other = colour.clone()
            other[:, channel] = (other[:, channel] + 0.5) % 1
            difference = material.albedo(x, y, noise, other, p) - albedo
            assert (difference.abs().mean((1, 2, 3)) > 0.005).all(), material.names[0]


def test_mean_is_near_the_named_colour() -> None:
    for material in MATERIALS:
        *rest, colour, p = arguments(material)
        mixed = {"two-tone plastic", "checkered plastic", "rusty metal"} & set(material.names)
        distance = (material.albedo(*rest, colour, p).mean((2, 3)) - colour).abs().amax()
        assert distance < (0.5 if mixed else 0.3), material.names[0]


def test_rows_are_independent() -> None:
    for material in MATERIALS:
        batch = arguments(material)
        alone = material.albedo(*(argument[1:2] for argument in batch))
        torch.testing.assert_close(alone[0], material.albedo(*batch)[1], atol=1e-5, rtol=0, msg=material.names[0])


def test_the_first_are_what_machines_and_moulds_make() -> None:
    for material in MATERIALS[:INDUSTRIAL]:
        words = {word for name in material.names for word in name.split()}
        assert words & {"plastic", "rubber", "metal", "steel", "iron"}, material.names


def test_stripes_at_points_computed_by_hand() -> None:
    # p = 1/6 of a half turn is 30 degrees, so u = x cos 30 + y sin 30
    p = torch.tensor([[1 / 6, 0.0, 0.0, 0.0]])
    x, y = torch.tensor([[[0.2, 0.0, 0.3]]]), torch.tensor([[[0.0, 0.5, -0.1]]])
    u = [0.2 * math.sqrt(3) / 2, 0.25, 0.3 * math.sqrt(3) / 2 - 0.05]
    across = [-0.1, 0.5 * math.sqrt(3) / 2, -0.15 - 0.1 * math.sqrt(3) / 2]
    torch.testing.assert_close(materials.along(x, y, p), torch.tensor([[u]]))
    torch.testing.assert_close(materials.along(x, y, p, 0.5), torch.tensor([[across]]))
    expected = [math.sin(2 * math.pi * value / 0.4) for value in u]
    torch.testing.assert_close(materials.wave(materials.along(x, y, p), 0.4), torch.tensor([[expected]]))


def test_steps_and_mixtures_by_hand() -> None:
    step = materials.smooth(torch.tensor([0.0, 1.0, 1.5, 2.0, 3.0, 5.0]), 1.0, 2.0)
    torch.testing.assert_close(step, torch.tensor([0.0, 0.0, 0.15625, 0.5, 1.0, 1.0]))
    red, blue = torch.tensor([[0.8, 0.1, 0.0]]), torch.tensor([0.0, 0.1, 0.8])
    mixture = materials.mix(red, blue, torch.tensor([[[0.0, 0.25, 2.0]]]))
    expected = torch.tensor([[0.8, 0.6, 0.0], [0.1, 0.1, 0.1], [0.0, 0.2, 1.0]])
    torch.testing.assert_close(mixture, expected[None, :, None])
