# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from small_clip.defects import AREAS, KINDS, NAMES, Part, Patches, draw_kinds, draw_patches, spoil
from small_clip.fields import Dice, noise_fields
from torch.nn.functional import max_pool2d

SIZE, COUNT = 96, 6


def parts() -> tuple[Part, torch.Tensor]:
    """Round plates of 34 pixels radius in one colour each, and their scale."""
    line = torch.arange(SIZE) - SIZE / 2 + 0.5
    inside = (line.square() + line[:, None].square()).sqrt() < 34
    height = (0.3 * inside).expand(COUNT, -1, -1).clone()
    albedo = torch.linspace(0.2, 0.8, COUNT)[:, None, None, None].expand(-1, 3, SIZE, SIZE).clone()
    return Part(height, albedo, torch.zeros_like(height, dtype=torch.bool)), torch.full((COUNT,), 34.0)


def patches(seed: int = 0) -> Patches:
    part, scale = parts()
    dice = Dice(seed)
    return draw_patches(dice, part, noise_fields(dice, COUNT, SIZE), scale)


def spoiled(name: str) -> tuple[Part, Part, torch.Tensor]:
    part, _ = parts()
    edited, mask = spoil(part, patches(), torch.full((COUNT,), NAMES.index(name)))
    return part, edited, mask


def test_there_are_kinds_enough_and_each_says_so() -> None:
    assert len(KINDS) >= 10
    states = [state for kind in KINDS.values() for state in kind.states]
    assert len(states) == len(set(states))
    assert all(state.count("{}") == 1 for state in states)


@pytest.mark.parametrize("name", NAMES)
def test_a_defect_changes_the_part_where_the_mask_says(name: str) -> None:
    part, edited, mask = spoiled(name)
    moved = (edited.height - part.height).abs() > 0.02
    painted = (edited.albedo - part.albedo).abs().amax(1) > 0.05
    changed = (moved | painted | (edited.hole != part.hole)) & (part.height > 0)
    assert mask.any(dim=(1, 2)).all()
    assert not mask[part.height == 0].any()
    assert changed.flatten(1).any(1).float().mean() >= 0.8
    around = max_pool2d(mask[:, None].float(), 15, 1, 7)[:, 0] > 0  # soft edges, no more
    assert (changed & ~around).sum() <= 0.05 * changed.sum()


@pytest.mark.parametrize("name", ["dent", "lump", "groove", "bend", "unmeasured"])
def test_defects_of_the_geometry_leave_the_colour(name: str) -> None:
    part, edited, _ = spoiled(name)
    assert torch.equal(edited.albedo, part.albedo)
    assert not torch.equal(edited.height, part.height) or not torch.equal(edited.hole, part.hole)


@pytest.mark.parametrize("name", ["stain", "burn", "spot", "texture"])
def test_defects_of_the_colour_leave_the_geometry(name: str) -> None:
    part, edited, _ = spoiled(name)
    assert torch.equal(edited.height, part.height)
    assert not torch.equal(edited.albedo, part.albedo)


def test_only_what_is_unmeasured_makes_holes() -> None:
    for name in NAMES:
        assert spoiled(name)[1].hole.any() == (name == "unmeasured")


def test_blobs_cover_the_drawn_share_of_the_part() -> None:
    part, _ = parts()
    shares = [(patches(seed).spot > 0.5).sum((1, 2)) / (part.height > 0).sum((1, 2)) for seed in range(20)]
    drawn = torch.cat(shares)
    assert drawn.max() < 1.6 * AREAS[1]  # ragged edges add to it
    assert drawn.median() == pytest.approx((AREAS[0] * AREAS[1]) ** 0.5, rel=0.4)  # middle of the logarithms
    assert drawn.max() > 5 * drawn.median() / 2


def test_easy_defects_are_large() -> None:
    part, scale = parts()
    smallest = []
    for ease in (0.0, 1.0):
        drawn = []
        for seed in range(20):
            dice = Dice(seed)
            at = draw_patches(dice, part, noise_fields(dice, COUNT, SIZE), scale, ease)
            drawn.append((at.spot > 0.5).sum((1, 2)) / (part.height > 0).sum((1, 2)))
        smallest.append(torch.cat(drawn).quantile(0.1))
    assert smallest[1] > 3 * smallest[0]


def test_kinds_are_drawn_where_they_show() -> None:
    view = torch.arange(4000) % 2 == 0
    for ease in (0.0, 1.0):
        kinds = draw_kinds(Dice(0), view, ease)
        from_above = {NAMES[k] for k in kinds[~view].tolist()}
        turned = {NAMES[k] for k in kinds[view].tolist()}
        conspicuous = {name for name, kind in KINDS.items() if kind.conspicuous}
        assert from_above == (conspicuous if ease else {n for n, kind in KINDS.items() if not kind.view_only})
        assert turned == (conspicuous if ease else set(KINDS))


def test_parts_do_not_know_each_other() -> None:
    part, _ = parts()
    at, kind = patches(), torch.arange(COUNT)
    whole, mask = spoil(part, at, kind)
    alone, alone_mask = spoil(Part(*(f[2:3] for f in part)), Patches(*(f[2:3] for f in at)), kind[2:3])
    assert all(torch.equal(one[2:3], other) for one, other in zip(whole, alone, strict=True))
    assert torch.equal(mask[2:3], alone_mask)
