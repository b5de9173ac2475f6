# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from small_clip.fields import PERIODS, Dice, noise_fields, ramp


def test_dice_of_one_seed_are_the_same() -> None:
    one, other = Dice(3), Dice(3)
    assert torch.equal(one.normal(5), other.normal(5))
    assert torch.equal(one.below(9, 50), other.below(9, 50))
    assert not torch.equal(Dice(4).normal(5), Dice(3).normal(5))


def test_dice_stay_within_their_ranges() -> None:
    dice = Dice(0)
    values = dice.log_uniform(4000, low=0.01, high=1.0)
    assert values.min() >= 0.01
    assert values.max() < 1
    assert (values < 0.1).float().mean() == pytest.approx(0.5, abs=0.03)  # half of the logarithms
    assert set(dice.below(3, 100).tolist()) == {0, 1, 2}
    assert dice.chance(0.2, 4000).float().mean() == pytest.approx(0.2, abs=0.03)


def test_pick_follows_the_weights() -> None:
    picked = Dice(0).pick(torch.tensor([[0.0, 3.0, 1.0]]).expand(4000, -1))
    assert torch.bincount(picked, minlength=3)[0] == 0
    assert (picked == 1).float().mean() == pytest.approx(0.75, abs=0.03)


def test_noise_has_mean_zero_variance_one_and_its_period() -> None:
    noise = noise_fields(Dice(0), 40, 120)
    assert noise.mean().abs() < 0.05
    for channel, period in enumerate(PERIODS):
        field = noise[:, channel]
        assert field.std() == pytest.approx(1, abs=0.25 if period < 50 else 0.4)  # few cells: borders count more
        near = (field[..., period // 2 :] * field[..., : -(period // 2)]).mean()
        assert near > 0.3 * field.var()
        if period < 50:
            far = (field[..., 2 * period :] * field[..., : -2 * period]).mean()
            assert far.abs() < 0.2 * field.var()


def test_ramp() -> None:
    t = torch.tensor([-1.0, 0.0, 0.25, 0.5, 1.0, 2.0])
    torch.testing.assert_close(ramp(t), torch.tensor([0, 0, 3 / 16 - 2 / 64, 0.5, 1, 1]))
