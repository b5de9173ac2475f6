# SPDX-License-Identifier: Apache-2.0
import torch
from anomalib.data.utils.generators import generate_perlin_noise

from anomalib_clip3dad.synthesis import perlin_mask
from anomalib_clip3dad.synthesis.perlin import _ROTATE


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


def test_noise_that_misses_the_part_is_mirrored_and_then_taken_at_its_highest() -> None:
    used = set()
    for seed in range(60):
        foreground = torch.zeros(32, 48, dtype=torch.bool)
        foreground[2:9, 3:12] = True
        torch.manual_seed(seed)
        noise = _ROTATE(generate_perlin_noise(32, 48, device=torch.device("cpu"))[None])[0]
        highest = max(noise[foreground].tolist())
        tries = [noise, torch.flipud(noise), torch.fliplr(noise), torch.rot90(noise, 2)]
        wanted = [(tried > 0.5) & foreground for tried in tries] + [(noise >= highest - 0.1) & foreground]
        place = next(i for i, mask in enumerate(wanted) if mask.sum() > 0)
        torch.manual_seed(seed)
        assert torch.equal(perlin_mask(foreground), wanted[place])
        used.add(place)
    assert used == {0, 1, 2, 3, 4}


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


def test_a_share_of_the_part_is_where_the_noise_is_highest() -> None:
    foreground = torch.rand(40, 60) > 0.3
    for seed, share in enumerate((0.001, 0.02, 0.3, 1.0)):
        torch.manual_seed(seed)
        noise = _ROTATE(generate_perlin_noise(40, 60, device=torch.device("cpu"))[None])[0]
        torch.manual_seed(seed)
        mask = perlin_mask(foreground, share=share)
        count = max(int(share * foreground.sum().item()), 1)
        lowest = sorted(noise[foreground].tolist(), reverse=True)[count - 1]
        assert torch.equal(mask, (noise >= lowest) & foreground)
        assert mask.sum() >= count
    assert not perlin_mask(torch.zeros(8, 8, dtype=torch.bool), share=0.1).any()
