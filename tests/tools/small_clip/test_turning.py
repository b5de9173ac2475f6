# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch
from small_clip.fields import Dice
from small_clip.turning import draw_turn, gaps, head_light, turn

SIZE = 20


def part() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """A coloured bump of 6 pixels radius, no holes, a marked corner; the scale is 8 pixels."""
    generator = torch.Generator().manual_seed(0)
    line = torch.arange(SIZE) - 9.5
    bump = (1 - (line.square() + line[:, None].square()) / 36).clamp(min=0)[None]
    marks = torch.zeros(1, SIZE, SIZE, dtype=torch.bool)
    marks[:, 8:11, 8:11] = True
    return torch.rand(1, 3, SIZE, SIZE, generator=generator), bump, torch.zeros_like(marks), marks


def reference(turns: list[float], scale: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Point by point: rotate, round to a pixel, draw a 3 x 3 square that falls away, keep the nearest."""
    image, bump, _, marks = part()
    about_x, about_y, about_z, zoom = turns
    drawn = [(r, c) for r in range(SIZE) for c in range(SIZE) if bump[0, r, c] > 0.02]
    mean = bump[0].sum().item() * scale / len(drawn)
    nearest = torch.full((SIZE, SIZE), math.inf)
    view, marked = torch.ones(3, SIZE, SIZE), torch.zeros(SIZE, SIZE, dtype=torch.bool)
    for row, column in drawn:
        x, y, z = column - 9.5, row - 9.5, mean - bump[0, row, column].item() * scale
        y, z = y * math.cos(about_x) - z * math.sin(about_x), y * math.sin(about_x) + z * math.cos(about_x)
        x, z = x * math.cos(about_y) + z * math.sin(about_y), -x * math.sin(about_y) + z * math.cos(about_y)
        x, y = x * math.cos(about_z) - y * math.sin(about_z), x * math.sin(about_z) + y * math.cos(about_z)
        to_column, to_row = math.floor(x * zoom + SIZE / 2), math.floor(y * zoom + SIZE / 2)
        if not (0 <= to_column < SIZE and 0 <= to_row < SIZE):
            continue
        for down in (-1, 0, 1):
            for right in (-1, 0, 1):
                r, c = to_row + down, to_column + right
                depth = math.floor((z * zoom + 4 * SIZE) * 64) / 64 + abs(down) + abs(right)
                if 0 <= r < SIZE and 0 <= c < SIZE and depth < nearest[r, c]:
                    nearest[r, c] = depth
                    view[:, r, c], marked[r, c] = image[0, :, row, column], marks[0, row, column]
    return view, marked


def test_views_are_those_of_a_loop_over_the_points() -> None:
    for turns in ([0.0, 0.0, 0.0, 1.0], [0.3, 0.0, 0.0, 1.0], [0.0, -0.3, 0.0, 1.1], [0.2, 0.1, -0.3, 1.2]):
        image, bump, holes, marks = part()
        view, marked = turn(image, bump, holes, marks, torch.tensor([[*turns, 0.0]]), torch.tensor([8.0]))
        expected, expected_marks = reference(turns, 8.0)
        # points on the border of two pixels or equally deep may go either way
        different = (view[0] - expected).abs().amax(0) > 1e-6
        assert different.float().mean() < 0.02, turns
        assert (marked[0] != expected_marks).float().mean() < 0.02


def test_what_is_not_measured_is_white() -> None:
    image, bump, holes, marks = part()
    holes[:, 8:12, 8:12] = True
    view, _ = turn(image, bump, holes, marks, torch.tensor([[0.0, 0.0, 0.0, 1.0, 0.0]]), torch.tensor([8.0]))
    assert (view[0, :, 8:12, 8:12] == 1).all()
    assert (view[0, :, 0] == 1).all()


def test_head_light_is_the_cosine_of_the_turned_slope() -> None:
    """On a plane that rises by `slope` pixels per column, turned about the rows: only the sum of both tilts counts."""
    size, scale, slope = 32, 10.0, 0.5
    plane = (slope / scale * torch.arange(size)).expand(1, size, size) + 1
    for angle in (-0.3, 0.0, 0.3):
        cos, sin = math.cos(angle), math.sin(angle)
        about_rows = torch.tensor([[[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]]])
        light = head_light(plane, about_rows, torch.tensor([scale]))
        assert light[0, 5:-5, 5:-5].flatten().tolist() == pytest.approx([math.cos(math.atan(slope) + angle)] * 22**2)


def test_lit_views_are_darker_by_the_light_and_nothing_else() -> None:
    image, bump, holes, marks = part()
    holes[:, 8:10, 8:10] = True
    flat = [0.0, 0.0, 0.0, 1.0]
    dark, lit = (turn(image, bump, holes, marks, torch.tensor([[*flat, on]]), torch.tensor([8.0])) for on in (0.0, 1.0))
    assert torch.equal(dark[1], lit[1])
    assert torch.equal(dark[0] == 1, lit[0] == 1)
    assert (lit[0] <= dark[0]).all()
    assert (lit[0] < dark[0]).any()


def test_gaps_lie_behind_steep_walls_only() -> None:
    height = torch.zeros(20, 32, 32)
    height[:, 8:24, 8:24] = 0.9
    found = gaps(Dice(0), height, torch.zeros(20, 4, 32, 32), torch.full((20,), 40.0))
    near_wall = torch.zeros(32, 32, dtype=torch.bool)
    near_wall[[8, 9, 24, 25]], near_wall[:, [8, 9, 24, 25]] = True, True
    assert found.any()
    assert not found[:, ~near_wall].any()


def test_turns_are_up_to_twenty_degrees() -> None:
    turns = draw_turn(Dice(0), 500)
    assert turns[:, :3].abs().max() <= math.radians(20.1)
    assert 0.15 < (turns[:, :3] == 0).float().mean() < 0.35
