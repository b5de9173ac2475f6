# SPDX-License-Identifier: Apache-2.0
import torch

from anomalib_clip3dad.synthesis import perlin_mask


def test_masks_stay_on_the_part_and_are_never_empty() -> None:
    foreground = torch.zeros(60, 80, dtype=torch.bool)
    foreground[10:40, 20:70] = True
    shares = []
    for _ in range(50):
        mask = perlin_mask(foreground)
        assert mask.any()
        assert not (mask & ~foreground).any()
        shares.append(mask.sum() / foreground.sum())
    assert 0.02 < torch.stack(shares).mean() < 0.5
    assert len({share.item() for share in shares}) > 30


def test_a_part_of_one_pixel_is_hit() -> None:
    foreground = torch.zeros(64, 64, dtype=torch.bool)
    foreground[5, 5] = True
    assert all(torch.equal(perlin_mask(foreground), foreground) for _ in range(10))


def test_no_part_gives_no_mask() -> None:
    assert not perlin_mask(torch.zeros(32, 32, dtype=torch.bool)).any()


def test_a_higher_threshold_leaves_less_of_the_same_mask() -> None:
    everywhere = torch.ones(64, 64, dtype=torch.bool)
    masks = []
    for threshold in (0.2, 0.4):
        torch.manual_seed(3)
        masks.append(perlin_mask(everywhere, threshold))
    assert (masks[1] & ~masks[0]).sum() == 0
    assert masks[0].sum() > masks[1].sum()
