# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch
from small_clip.defects import Part
from small_clip.fields import Dice
from small_clip.turning import Scan, draw_scan, draw_turn, head_light, turn
from torch.nn.functional import max_pool2d

SIZE, SCALE = 20, torch.tensor([8.0])
FLAT = torch.tensor([[0.0, 0.0, 0.0, 1.0]])
GREY = 0.7  # of what faces the light


def part() -> tuple[Part, torch.Tensor]:
    """A coloured bump of 6 pixels radius without holes, and a marked corner."""
    generator = torch.Generator().manual_seed(0)
    line = torch.arange(SIZE) - 9.5
    bump = (1 - (line.square() + line[:, None].square()) / 36).clamp(min=0)[None]
    marks = torch.zeros(1, SIZE, SIZE, dtype=torch.bool)
    marks[:, 8:11, 8:11] = True
    return Part(bump, torch.rand(1, 3, SIZE, SIZE, generator=generator), torch.zeros_like(marks)), marks


def clean(window: int = 0) -> Scan:
    """A scan that adds and leaves out nothing."""
    nothing = torch.zeros(1, SIZE, SIZE)
    return Scan(nothing, nothing > 0, nothing > 0, nothing, torch.tensor([window]))


def shade(height: torch.Tensor, row: int, column: int, side: int, sight: tuple[float, float, float]) -> float:
    """Head-light on a point: heights smoothed over a square, slopes between the neighbours, cosine with the sight."""

    def smooth(r: int, c: int) -> float:
        r, c, half = min(max(r, 0), SIZE - 1), min(max(c, 0), SIZE - 1), side // 2
        return height[max(r - half, 0) : r + half + 1, max(c - half, 0) : c + half + 1].mean().item()

    right = (smooth(row, column + 1) - smooth(row, column - 1)) * 8.0 / 2
    down = (smooth(row + 1, column) - smooth(row - 1, column)) * 8.0 / 2
    cosine = (sight[0] * right + sight[1] * down + sight[2]) / math.sqrt(right**2 + down**2 + 1)
    return GREY * min(max(cosine, 0), 1)


def rotated(x: float, y: float, z: float, angles: list[float]) -> tuple[float, float, float]:
    """About columns, rows and the line of sight, one after the other."""
    about_x, about_y, about_z = angles
    y, z = y * math.cos(about_x) - z * math.sin(about_x), y * math.sin(about_x) + z * math.cos(about_x)
    x, z = x * math.cos(about_y) + z * math.sin(about_y), -x * math.sin(about_y) + z * math.cos(about_y)
    x, y = x * math.cos(about_z) - y * math.sin(about_z), x * math.sin(about_z) + y * math.cos(about_z)
    return x, y, z


def reference(turns: list[float], window: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Point by point: rotate, round to a pixel, draw a 3 x 3 square that falls away, keep the nearest."""
    (height, _, _), marks = part()
    bump, angles, zoom, side = height[0], turns[:3], turns[3], (3, 5, 7)[window]
    # the line of sight as the part sees it: what the turn brings to it
    sight = tuple(rotated(*axis, angles)[2] for axis in ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)))
    drawn = [(r, c) for r in range(SIZE) for c in range(SIZE) if bump[r, c] > 0.02]
    mean = bump.sum().item() * 8.0 / len(drawn)
    nearest = torch.full((SIZE, SIZE), math.inf)
    view, marked = torch.ones(SIZE, SIZE), torch.zeros(SIZE, SIZE, dtype=torch.bool)
    for row, column in drawn:
        x, y, z = rotated(column - 9.5, row - 9.5, mean - bump[row, column].item() * 8.0, angles)
        to_column, to_row = math.floor(x * zoom + SIZE / 2), math.floor(y * zoom + SIZE / 2)
        if not (0 <= to_column < SIZE and 0 <= to_row < SIZE):
            continue
        for down in (-1, 0, 1):
            for right in (-1, 0, 1):
                r, c = to_row + down, to_column + right
                depth = math.floor((z * zoom + 4 * SIZE) * 64) / 64 + abs(down) + abs(right)
                if 0 <= r < SIZE and 0 <= c < SIZE and depth < nearest[r, c]:
                    nearest[r, c] = depth
                    view[r, c], marked[r, c] = shade(bump, row, column, side, sight), marks[0, row, column]
    return view, marked


def test_views_are_those_of_a_loop_over_the_points() -> None:
    flat, several = [0.0, 0.0, 0.0, 1.0], [0.2, 0.1, -0.3, 1.2]
    for window, turns in ((0, flat), (1, [0.3, 0.0, 0.0, 1.0]), (2, [0.0, -0.3, 0.0, 1.1]), (0, several)):
        bump, marks = part()
        view, marked = turn(bump, marks, clean(window), torch.tensor([turns]), SCALE)
        expected, expected_marks = reference(turns, window)
        # points on the border of two pixels or equally deep may go either way
        assert ((view[0, 0] - expected).abs() > 1e-4).float().mean() < 0.02, turns
        assert (marked[0] != expected_marks).float().mean() < 0.02
        assert expected_marks.any()


def test_views_are_grey_and_know_no_colour() -> None:
    bump, marks = part()
    turns = torch.tensor([[0.2, 0.1, -0.3, 1.2]])
    view, _ = turn(bump, marks, clean(), turns, SCALE)
    assert view.shape == (1, 3, SIZE, SIZE)
    assert torch.equal(view[:, 0], view[:, 1])
    assert torch.equal(view[:, 0], view[:, 2])
    assert view[view < 1].max() <= GREY
    painted = bump._replace(albedo=1 - bump.albedo)
    assert torch.equal(turn(painted, marks, clean(), turns, SCALE)[0], view)


def test_what_is_not_measured_is_white() -> None:
    bump, marks = part()
    here = torch.zeros(1, SIZE, SIZE, dtype=torch.bool)
    here[:, 8:12, 8:12] = True
    whole, _ = turn(bump, marks, clean(), FLAT, SCALE)
    assert (whole[0, :, 8:12, 8:12] < 1).all()
    assert (whole[0, :, 0] == 1).all()
    for view in (
        turn(bump._replace(hole=here), marks, clean(), FLAT, SCALE)[0],
        turn(bump, marks, clean()._replace(hole=here), FLAT, SCALE)[0],
    ):
        assert (view[0, :, 8:12, 8:12] == 1).all()
        assert torch.equal(view[0, :, ~here[0]], whole[0, :, ~here[0]])


def test_noise_is_added_to_the_part_alone() -> None:
    bump, marks = part()
    noise = 0.01 * torch.randn(1, SIZE, SIZE)
    noisy = turn(bump, marks, clean()._replace(noise=noise), FLAT, SCALE)[0]
    added = bump._replace(height=bump.height + noise * (bump.height > 0.02))
    torch.testing.assert_close(noisy, turn(added, marks, clean(), FLAT, SCALE)[0])
    assert not torch.equal(noisy, turn(bump, marks, clean(), FLAT, SCALE)[0])


def test_flying_points_lie_between_top_and_foot_of_steep_edges() -> None:
    """As the same turn of a part that has those heights; a step of at most 4 pixels sends nothing astray."""
    bump, marks = part()
    flying, level = torch.rand(1, SIZE, SIZE) < 0.3, torch.rand(1, SIZE, SIZE)
    astray = bump.height.clone()
    for row in range(SIZE):
        for column in range(SIZE):
            near = bump.height[0, max(row - 2, 0) : row + 3, max(column - 2, 0) : column + 3]
            low, high = near.min(), near.max()
            if flying[0, row, column] and (high - low) * 8 > 4:
                astray[0, row, column] = low + (high - low) * level[0, row, column]
    scan = clean()._replace(flying=flying, level=level)
    view = turn(bump, marks, scan, FLAT, SCALE)[0]
    torch.testing.assert_close(view, turn(bump._replace(height=astray), marks, clean(), FLAT, SCALE)[0])
    assert ((astray > 0.02) & (bump.height <= 0.02)).any()  # some beside the part
    assert not torch.equal(view, turn(bump, marks, clean(), FLAT, SCALE)[0])
    low = bump._replace(height=bump.height / 3)
    assert torch.equal(turn(low, marks, scan, FLAT, SCALE)[0], turn(low, marks, clean(), FLAT, SCALE)[0])


def test_scans_have_more_or_fewer_flying_points() -> None:
    count = 400
    scan = draw_scan(Dice(0), torch.zeros(count, 24, 24), torch.zeros(count, 4, 24, 24), torch.full((count,), 10.0))
    share = scan.flying.float().mean((1, 2))
    assert (share == 0).float().mean() == pytest.approx(0.3, abs=0.08)
    assert 0.3 < share.max() < 0.5
    assert torch.equal(scan.flying[:, ::2, ::2], scan.flying[:, 1::2, 1::2])  # clumps


def test_head_light_is_the_cosine_of_the_turned_slope() -> None:
    """On a plane that rises by `slope` pixels per column, turned about the rows: only the sum of both tilts counts."""
    size, scale, slope = 32, 10.0, 0.5
    plane = (slope / scale * torch.arange(size)).expand(1, size, size) + 1
    for angle, window in ((-0.3, 0), (0.0, 1), (0.3, 2)):
        cos, sin = math.cos(angle), math.sin(angle)
        about_rows = torch.tensor([[[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]]])
        light = head_light(plane, about_rows, torch.tensor([scale]), torch.tensor([window]))
        expected = torch.full((22, 22), math.cos(math.atan(slope) + angle))
        torch.testing.assert_close(light[0, 5:-5, 5:-5], expected, rtol=0, atol=1e-5)


def test_twins_are_scanned_alike() -> None:
    """Away from the defect, noise and gaps of both are the same, to the bit where nothing is turned."""
    bump, marks = part()
    scan = clean(1)._replace(noise=0.01 * torch.randn(1, SIZE, SIZE), hole=torch.rand(1, SIZE, SIZE) < 0.1)
    dented = bump._replace(height=bump.height - 0.1 * marks)
    one, other = (turn(twin, marks, scan, FLAT, SCALE)[0] for twin in (bump, dented))
    # as far as normals look: two pixels for the mean, one for the slope, one for the size of the points
    near = max_pool2d(marks[:, None].float(), 9, 1, 4)[:, 0] > 0
    assert torch.equal(one[:, :, ~near[0]], other[:, :, ~near[0]])
    assert not torch.equal(one[:, :, near[0]], other[:, :, near[0]])


def test_scans_lack_what_lies_behind_steep_walls_and_single_points() -> None:
    count, size = 300, 32
    height = torch.zeros(count, size, size)
    height[:, 8:24, 8:24] = 0.9
    scan = draw_scan(Dice(0), height, torch.zeros(count, 4, size, size), torch.full((count,), 40.0))
    near_wall = torch.zeros(size, size, dtype=torch.bool)
    near_wall[[8, 9, 24, 25], 8:26], near_wall[8:26, [8, 9, 24, 25]] = True, True
    single = scan.hole[:, ~near_wall].float().mean(1)
    assert (single == 0).float().mean() == pytest.approx(0.5, abs=0.1)
    assert 0.03 < single.max() < 0.06  # up to 4 % are lacking
    walls = scan.hole[:, near_wall].float().mean(1)
    assert (walls > 0.3).float().mean() == pytest.approx(1, abs=0.05)  # a step of 36 pixels, at most 25 are measured
    gentle = draw_scan(Dice(0), height / 10, torch.zeros(count, 4, size, size), torch.full((count,), 40.0))
    assert gentle.hole.float().mean() < 0.02  # 3.6 pixels


def test_scans_are_more_or_less_noisy() -> None:
    count = 400
    scan = draw_scan(Dice(0), torch.zeros(count, 24, 24), torch.zeros(count, 4, 24, 24), torch.full((count,), 10.0))
    deviation = scan.noise.std((1, 2))
    assert (deviation == 0).float().mean() == pytest.approx(0.3, abs=0.08)
    assert 0.005 < deviation.max() < 0.0065
    assert deviation[deviation > 0].mean() == pytest.approx(0.003, rel=0.1)
    assert scan.noise.mean().abs() < 1e-4
    assert set(scan.window.tolist()) == {0, 1, 2}


def test_turns_are_up_to_twenty_degrees() -> None:
    turns = draw_turn(Dice(0), 500)
    assert turns.shape == (500, 4)
    assert turns[:, :3].abs().max() <= math.radians(20.1)
    assert turns[:, :3].abs().max() > math.radians(19)
    assert 0.15 < (turns[:, :3] == 0).float().mean() < 0.35
    assert 0.9 <= turns[:, 3].min() < 0.95
    assert 1.2 < turns[:, 3].max() <= 1.25
