# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch
from small_clip import reliefs as module
from small_clip.fields import Dice
from small_clip.reliefs import draw_reliefs

COUNT, SIZE = 600, 48


@pytest.fixture(scope="module")
def reliefs() -> torch.Tensor:
    line = torch.linspace(-1, 1, SIZE)
    x, y = line.expand(COUNT, SIZE, SIZE), line[:, None].expand(COUNT, SIZE, SIZE)
    return draw_reliefs(Dice(0), x, y)


def test_they_only_add_and_stay_low(reliefs: torch.Tensor) -> None:
    assert reliefs.shape == (COUNT, SIZE, SIZE)
    assert reliefs.isfinite().all()
    assert reliefs.min() >= 0
    assert reliefs.max() <= module._HEIGHTS[1]


def test_parts_without_a_pattern_stay_as_they_are(reliefs: torch.Tensor) -> None:
    highest = reliefs.amax((1, 2))
    share = (highest > 0).float().mean()
    assert share == pytest.approx(module._SHARE, abs=4 * math.sqrt(0.25 / COUNT))
    assert highest[highest > 0].min() >= 0.7 * module._HEIGHTS[0]  # a wide flank may not reach the top
    # what has a pattern is not even
    assert (reliefs[highest > 0].std((1, 2)) > 0.02 * highest[highest > 0]).float().mean() > 0.97


def test_each_pattern_covers_the_unit_range_and_repeats() -> None:
    line = torch.arange(400) / 40
    u, v = line.expand(1, 400, 400), line[:, None].expand(1, 400, 400)
    width, edge, shift = (torch.full((1, 1, 1), value) for value in (0.5, 0.1, 0.25))
    for make in set(module._PATTERNS):
        pattern = make(u, v, width, edge, shift)[0]
        name = make.__name__
        assert (pattern.min().item(), pattern.max().item()) == pytest.approx((0, 1), abs=1e-5), name
        if name != "_rings":
            # one unit along; eight across, where rows of one or two units that are shifted by a quarter lie as at first
            for moved in (pattern.roll(-40, 1), pattern.roll(-8 * 40, 0)):
                torch.testing.assert_close(moved[:80, :360], pattern[:80, :360], atol=1e-3, rtol=0, msg=name)


def test_bars_take_their_share_of_each_unit() -> None:
    u = torch.arange(3000)[None, None] / 1000  # three units
    for width, edge in ((0.25, 0.05), (0.5, 0.2), (0.75, 0.1)):
        bars = module._bars(u, torch.tensor(width), torch.tensor(edge))[0, 0]
        # flanks are as much above as below the half
        assert bars.mean().item() == pytest.approx(width, abs=2e-3)
        assert bars[[500, 1500, 2500]].tolist() == [1, 1, 1]  # the middle
        assert bars[[0, 1000, 2000]].tolist() == [0, 0, 0]
        at = torch.tensor([0.5 - width / 2 - edge / 2 - 0.002, 0.5 - width / 2, 0.5 - width / 2 + edge / 2 + 0.002])
        found = module._bars(at[None, None], torch.tensor(width), torch.tensor(edge))[0, 0]
        torch.testing.assert_close(found, torch.tensor([0.0, 0.5, 1.0]), atol=1e-5, rtol=0)


def test_rings_go_round() -> None:
    angle, ones = torch.linspace(0, 6, 50)[None, None], torch.ones(1, 1, 1)
    for radius, expected in ((0.5, 1.0), (1.0, 0.0), (2.5, 1.0)):
        ring = module._rings(radius * angle.cos(), radius * angle.sin(), 0.5 * ones, 0.1 * ones, 0 * ones)
        torch.testing.assert_close(ring, torch.full_like(ring, expected))
