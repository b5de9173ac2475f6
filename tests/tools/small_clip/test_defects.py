# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from small_clip.defects import AREAS, KINDS, NAMES, Part, Patches, draw_kinds, draw_patches, spoil
from small_clip.fields import Dice, noise_fields
from torch.nn.functional import max_pool2d

SIZE, COUNT = 96, 6
COLOUR_ONLY = ("stain", "burn", "spot", "texture")
GEOMETRY_ONLY = ("dent", "lump", "groove", "bend", "worn", "hole", "piece", "unmeasured")


def parts() -> tuple[Part, torch.Tensor]:
    """Round plates of 34 pixels radius with ribs, in one colour each, and their scale."""
    line = torch.arange(SIZE) - SIZE / 2 + 0.5
    inside = (line.square() + line[:, None].square()).sqrt() < 34
    height = ((0.3 + 0.08 * (torch.arange(SIZE) % 8 < 4)) * inside).expand(COUNT, -1, -1).clone()
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


def test_each_kind_says_so_in_its_own_words() -> None:
    states = [state for kind in KINDS.values() for state in kind.states]
    assert len(states) == len(set(states))
    assert all(state.count("{}") == 1 for state in states)


def test_a_defect_changes_the_part_where_the_mask_says() -> None:
    for name in NAMES:
        part, edited, mask = spoiled(name)
        moved = (edited.height - part.height).abs() > 0.02
        painted = (edited.albedo - part.albedo).abs().amax(1) > 0.05
        changed = (moved | painted | (edited.hole != part.hole)) & (part.height > 0)
        assert mask.any(dim=(1, 2)).all(), name
        assert not mask[part.height == 0].any(), name
        assert changed.flatten(1).any(1).float().mean() >= 0.8, name
        around = max_pool2d(mask[:, None].float(), 15, 1, 7)[:, 0] > 0  # soft edges, no more
        assert (changed & ~around).sum() <= 0.05 * changed.sum(), name


def test_each_kind_changes_height_colour_outline_or_holes_as_it_should() -> None:
    for name in NAMES:
        part, edited, _ = spoiled(name)
        same = [torch.equal(one, other) for one, other in zip(edited, part, strict=True)]
        assert same == [name in (*COLOUR_ONLY, "unmeasured"), name in GEOMETRY_ONLY, name != "unmeasured"], name
        assert torch.equal(edited.height > 0.02, part.height > 0.02) == (name not in ("hole", "piece")), name


def test_what_is_worn_is_the_mean_of_what_was_around() -> None:
    part, edited, _ = spoiled("worn")
    worn = patches().blob > 0.9
    assert worn.sum() > 50
    compared = 0
    for number, row, column in worn.nonzero().tolist():
        if part.height[number, row, column] == 0:
            assert edited.height[number, row, column] == 0
            continue
        around = part.height[number, max(row - 7, 0) : row + 8, max(column - 7, 0) : column + 8]
        assert edited.height[number, row, column].item() == pytest.approx(around.mean().item(), abs=1e-5)
        compared += 1
    assert compared > 50


def shares(ease: float) -> torch.Tensor:
    """Of the part that blobs cover."""
    part, scale = parts()
    drawn = []
    for seed in range(20):
        dice = Dice(seed)
        at = draw_patches(dice, part, noise_fields(dice, COUNT, SIZE), scale, ease)
        drawn.append((at.spot > 0.5).sum((1, 2)) / (part.height > 0).sum((1, 2)))
    return torch.cat(drawn)


def test_blobs_cover_the_drawn_share_of_the_part_and_easy_ones_are_large() -> None:
    drawn, easy = shares(0.0), shares(1.0)
    assert drawn.max() < 1.6 * AREAS[1]  # ragged edges add to it
    assert drawn.median() == pytest.approx((AREAS[0] * AREAS[1]) ** 0.5, rel=0.4)  # middle of the logarithms
    assert drawn.max() > 5 * drawn.median() / 2
    assert easy.quantile(0.1) > 3 * drawn.quantile(0.1)
    assert easy.max() < 1.6 * AREAS[1]


def test_kinds_are_drawn_where_they_show() -> None:
    view = torch.arange(20_000) % 2 == 0
    conspicuous = {name for name, kind in KINDS.items() if kind.conspicuous}
    for ease in (0.0, 0.5, 1.0):
        kinds = draw_kinds(Dice(0), view, ease)
        photos, views = (torch.bincount(kinds[rows], minlength=len(NAMES)) for rows in (~view, view))
        drawn_in_photos = {name for name, number in zip(NAMES, photos.tolist(), strict=True) if number}
        drawn_in_views = {name for name, number in zip(NAMES, views.tolist(), strict=True) if number}
        assert drawn_in_photos == (conspicuous if ease == 1 else set(NAMES) - {"unmeasured"})
        # a view shows no colour: neither what is painted nor scratches and dirt, which hardly rise
        assert drawn_in_views == set(NAMES) - {*COLOUR_ONLY, "scratch", "contamination"}


def test_kinds_are_drawn_as_often_as_they_say() -> None:
    view = torch.arange(20_000) % 2 == 0
    kinds = draw_kinds(Dice(1), view, 0.5)
    for rows, weights in (
        (~view, [kind.in_photos * (1 if kind.conspicuous else 0.5) for kind in KINDS.values()]),
        (view, [kind.in_views for kind in KINDS.values()]),
    ):
        found = torch.bincount(kinds[rows], minlength=len(NAMES)) / 10_000
        assert found.tolist() == pytest.approx([weight / sum(weights) for weight in weights], abs=0.02)


def test_parts_do_not_know_each_other() -> None:
    part, _ = parts()
    at, kind = patches(), torch.arange(COUNT)
    whole, mask = spoil(part, at, kind)
    alone, alone_mask = spoil(Part(*(f[2:3] for f in part)), Patches(*(f[2:3] for f in at)), kind[2:3])
    assert all(torch.equal(one[2:3], other) for one, other in zip(whole, alone, strict=True))
    assert torch.equal(mask[2:3], alone_mask)
