# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch
from small_clip.defects import Part
from small_clip.fields import Dice, noise_fields
from small_clip.lighting import Conditions, _dust, draw_conditions, photograph

SIZE = 64
SCALE = torch.tensor([25.0])


def scene(height: torch.Tensor, lamp: tuple[float, float, float], gloss: float = 0.0) -> torch.Tensor:
    """A grey part on a white table under one lamp, no noise."""
    part = Part(height[None], torch.full((1, 3, SIZE, SIZE), 0.5), torch.zeros(1, SIZE, SIZE, dtype=torch.bool))
    one = torch.ones(1, 1, 1)
    conditions = Conditions(
        background=torch.ones(1, 3, SIZE, SIZE),
        lamp=torch.tensor([lamp]),
        power=0.6 * one,
        ambient=0.3 * one,
        tint=torch.ones(1, 3, 1, 1),
        gloss=gloss * one,
        occlusion=0 * one,
        grain=torch.zeros(1, 3, SIZE, SIZE),
    )
    return photograph(part, conditions, SCALE)[0]


def block(top: float = 0.4) -> torch.Tensor:
    height = torch.zeros(SIZE, SIZE)
    height[24:40, 24:40] = top
    return height


def test_flat_parts_get_lambert_and_ambient() -> None:
    picture = scene(torch.full((SIZE, SIZE), 0.2), (0.0, 0.6, 0.8))
    torch.testing.assert_close(picture, torch.full_like(picture, 0.5 * (0.6 * 0.8 + 0.3)))


def test_slopes_towards_the_lamp_are_lighter() -> None:
    # a roof along the rows: rises to the middle column, then falls; slope 0.5
    roof = 0.1 + 0.5 * (SIZE / 2 - (torch.arange(SIZE) - SIZE / 2 + 0.5).abs()).expand(SIZE, SIZE) / SCALE
    picture = scene(roof, (0.6, 0.0, 0.8))  # the lamp is on the right
    right, left = picture[0, 32, 45].item(), picture[0, 32, 18].item()
    normal = 1 / math.sqrt(1.25)
    assert right == pytest.approx(0.5 * (0.6 * (0.8 + 0.5 * 0.6) * normal + 0.3), abs=1e-4)
    assert left < right - 0.1


def test_a_block_casts_its_shadow_away_from_the_lamp() -> None:
    picture = scene(block(), (0.6, 0.0, 0.8))  # lamp on the right: the shadow lies on the left
    lit = 0.6 * 0.8 + 0.3
    assert picture[0, 32, 52] == pytest.approx(lit, abs=0.02)
    assert picture[0, 32, 20] < 0.7 * lit
    assert picture[0, 4, 4] == pytest.approx(lit, abs=0.02)


def test_gloss_is_brightest_between_lamp_and_eye() -> None:
    level = torch.full((SIZE, SIZE), 0.2)
    steep = scene(level, (0.0, 0.1, 0.995), gloss=0.4) - scene(level, (0.0, 0.1, 0.995))
    flat = scene(level, (0.0, 0.8, 0.6), gloss=0.4) - scene(level, (0.0, 0.8, 0.6))
    assert steep.mean() > 3 * flat.mean() > 0


def test_conditions_are_physical() -> None:
    dice = Dice(0)
    drawn = draw_conditions(dice, noise_fields(dice, 50, SIZE), torch.full((50,), 0.3))
    torch.testing.assert_close(drawn.lamp.norm(dim=1), torch.ones(50))
    assert (drawn.lamp[:, 2] > 0.5).all()
    assert drawn.background.min() >= 0
    assert drawn.background.max() <= 1
    assert drawn.grain.isfinite().all()
    assert (drawn.ambient > 0).all()
    assert (drawn.power > 0).all()


def test_a_third_of_the_tables_is_nearly_black() -> None:
    dice = Dice(0)
    table = draw_conditions(dice, noise_fields(dice, 800, 8), torch.zeros(800)).background.mean((1, 2, 3))
    # 0.45 of the 0.7 that are grey; of the others 0.06 of the grey ones
    assert (table < 0.1).float().mean() == pytest.approx(0.7 * (0.45 + 0.55 * 0.06), abs=0.05)
    assert table.max() > 0.8


def test_dust_is_bright_specks_in_some_pictures() -> None:
    dust = _dust(Dice(0), 300, SIZE)
    assert dust.shape == (300, 1, SIZE, SIZE)  # as bright in red, green and blue
    specks = dust > 0
    assert dust.min() == 0
    assert 0.05 <= dust[specks].min() < dust[specks].max() < 0.3
    dusty = specks.any(3).any(2).any(1)
    assert dusty.float().mean() == pytest.approx(0.3, abs=0.08)
    assert specks[dusty].float().mean() == pytest.approx(0.002, rel=0.1)
