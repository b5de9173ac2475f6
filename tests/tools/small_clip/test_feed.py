# SPDX-License-Identifier: Apache-2.0
"""Twins are looked at through a stem that only folds pixels, so that the images can be got back."""

import itertools
from collections.abc import Sequence
from typing import Any

import open_clip
import pytest
import torch
from small_clip.captions import Captions
from small_clip.feed import Plan, Seen, Twins, feed
from small_clip.materials import COLOURS, MATERIALS
from small_clip.shapes import SHAPES
from torch import Tensor
from torchvision.transforms.functional import normalize

from anomalib_clip3dad.clip.stem import StemEmbed

WHOLE, CROP = 96, 48
# crops until within the second three steps on the same twins
PLAN = Plan(seed=3, steps=8, per_step=2, repeats=3, whole=WHOLE, crop=CROP, cropped=5, ease=1.0)


@pytest.fixture(scope="module")
def writer() -> Captions:
    tokenizer: Any = open_clip.SimpleTokenizer(context_length=32)
    names, materials = ([entry.names for entry in table] for table in (SHAPES, MATERIALS))
    marks = tokenizer.sot_token_id, tokenizer.eot_token_id
    return Captions(tokenizer.encode, *marks, 32, names, materials, list(COLOURS))


class Folding(torch.nn.Module):
    """An embedding whose stem puts the pixels of a token behind one another."""

    stem = torch.nn.PixelUnshuffle(16)


def twins(writer: Captions, plan: Plan = PLAN) -> Twins:
    return Twins(plan, Folding(), writer, (torch.zeros(3, 1, 1), torch.ones(3, 1, 1)))


def images(seen: Seen) -> Tensor:
    return torch.nn.functional.pixel_shuffle(seen.features, 16)


def ways(field: Tensor) -> list[Tensor]:
    """All eight, written out: quarter turns by index, with and without the mirror image."""
    turned = [field, field.transpose(-2, -1).flip(-2), field.flip(-2).flip(-1), field.transpose(-2, -1).flip(-1)]
    return turned + [each.flip(-1) for each in turned]


def same(one: Seen, other: Seen) -> bool:
    fields = zip(one[:4], other[:4], strict=True)
    return all(torch.equal(a, b) for a, b in fields) and tuple(one.corner) == tuple(other.corner)


def all_of(writer: Captions, order: Sequence[int]) -> list[Seen]:
    source = twins(writer)
    return [seen for _, seen in sorted(((step, source[step]) for step in order), key=lambda pair: pair[0])]


def test_a_step_sees_the_same_whoever_asks_and_in_any_order(writer: Captions) -> None:
    forward = all_of(writer, range(8))
    backward, mixed = all_of(writer, range(7, -1, -1)), all_of(writer, [4, 0, 5, 2, 7, 1, 6, 3])
    for step, seen in enumerate(forward):
        assert same(seen, backward[step]), step
        assert same(seen, mixed[step]), step
        assert same(seen, twins(writer)[step]), step


@pytest.mark.parametrize("workers", [0, 1])
def test_the_feed_goes_on_from_any_step(writer: Captions, workers: int) -> None:
    fed = list(feed(twins(writer), 4, workers))
    assert len(fed) == 4
    for seen, expected in zip(fed, all_of(writer, range(4, 8)), strict=True):
        assert same(Seen(*seen), expected)


def test_repeats_are_the_same_pair_turned_or_flipped_with_its_mask(writer: Captions) -> None:
    steps = all_of(writer, range(8))
    for group in ([0, 1, 2], [3, 4], [5], [6, 7]):  # 5 begins the whole images
        first = steps[group[0]]
        for step in group[1:]:
            again = steps[step]
            turned = zip(ways(images(first)), ways(first.masks), strict=True)
            fitting = [torch.equal(masks, again.masks) for pair, masks in turned if torch.equal(pair, images(again))]
            assert fitting == [True], step
            assert torch.equal(again.captions, first.captions)
            assert torch.equal(again.sure, first.sure)
    for one, other in itertools.pairwise((0, 3, 5, 6)):
        assert not torch.equal(steps[one].captions, steps[other].captions)


def test_every_way_round_is_seen(writer: Captions) -> None:
    source = twins(writer, PLAN._replace(steps=60, cropped=60, repeats=60))
    views = [images(source[step]) for step in range(60)]
    assert {tuple(torch.equal(view, way) for way in ways(views[0])).index(True) for view in views} == set(range(8))


def test_crops_become_whole_images_as_planned(writer: Captions) -> None:
    for step, seen in enumerate(all_of(writer, range(8))):
        side = CROP if step < PLAN.cropped else WHOLE
        assert seen.features.shape == (2, 2, 3 * 256, side // 16, side // 16)
        assert seen.masks.shape == (2, side, side)
        assert seen.captions.shape == (2, 2, 32)
        # a crop of 3 x 3 tokens may lie anywhere on the grid of 6 x 6
        assert all(0 <= place <= (3 if step < PLAN.cropped else 0) for place in seen.corner)


def test_crops_lie_everywhere_on_the_grid(writer: Captions) -> None:
    source = twins(writer, PLAN._replace(steps=120, cropped=120, repeats=120))
    corners = {tuple(source[step].corner) for step in range(120)}
    assert corners == set(itertools.product(range(4), range(4)))


def test_every_run_has_pairs_of_its_own(writer: Captions) -> None:
    one, other = (images(twins(writer, PLAN._replace(seed=seed))[0]) for seed in (0, 1))
    assert not torch.equal(one, other)


def test_large_defects_come_first(writer: Captions) -> None:
    """As the masks of photographs tell: their areas are 3 to 10 % of a part at first, 0.3 to 10 % at the end."""
    areas = []
    for step in (0, 999):
        plans = [PLAN._replace(seed=seed, steps=1000, cropped=1000, repeats=1, per_step=64) for seed in range(3)]
        masks = [twins(writer, plan)[step].masks[32:] for plan in plans]
        areas.append(torch.cat(masks).sum((1, 2)).float().quantile(0.5))
    assert areas[0] > 1.5 * areas[1]


def test_the_ease_falls_in_proportion_to_the_steps(writer: Captions) -> None:
    plan = PLAN._replace(steps=1000, cropped=1000, per_step=8)
    half = images(twins(writer, plan)[501])  # 1 - 501 / 1000 of 1
    same_ease = images(twins(writer, plan._replace(steps=2000, ease=0.499 / (1 - 501 / 2000)))[501])
    torch.testing.assert_close(half, same_ease)
    assert not torch.allclose(half, images(twins(writer, plan._replace(ease=0.5))[501]))


def test_images_are_normalised_before_the_stem(writer: Captions) -> None:
    embed = StemEmbed(WHOLE)
    mean, std = [0.48, 0.46, 0.41], [0.27, 0.26, 0.28]
    source = Twins(PLAN, embed, writer, tuple(torch.tensor(side).view(3, 1, 1) for side in (mean, std)))  # type: ignore[arg-type]
    pairs = torch.rand(2, 2, 3, 32, 32)
    expected = [embed.stem(normalize(side, mean, std)) for side in pairs]
    torch.testing.assert_close(source.read(pairs), torch.stack(expected))
