# SPDX-License-Identifier: Apache-2.0
import math
from typing import Any

import open_clip
import pytest
import torch
from small_clip.captions import Captions
from small_clip.defects import AREAS
from small_clip.fields import Dice
from small_clip.materials import COLOURS, MATERIALS
from small_clip.pairs import VIEW_SHARE, Pairs, make_pairs
from small_clip.shapes import SHAPES
from torch.nn.functional import max_pool2d

COUNT, SIZE = 48, 96


def make(seed: int) -> Pairs:
    tokenizer: Any = open_clip.SimpleTokenizer(context_length=32)
    names, materials = ([entry.names for entry in table] for table in (SHAPES, MATERIALS))
    marks = tokenizer.sot_token_id, tokenizer.eot_token_id
    writer = Captions(tokenizer.encode, *marks, 32, names, materials, list(COLOURS))
    return make_pairs(Dice(seed), writer, COUNT, SIZE, (0.3 * SIZE, 0.48 * SIZE))


VIEWS, PHOTOS = slice(round(VIEW_SHARE * COUNT)), slice(round(VIEW_SHARE * COUNT), None)


@pytest.fixture(scope="module")
def pairs() -> Pairs:
    return make(0)


@pytest.fixture(scope="module")
def others() -> Pairs:
    return make(1)


def test_they_are_what_they_say(pairs: Pairs) -> None:
    assert pairs.images.shape == (2, COUNT, 3, SIZE, SIZE)
    assert pairs.images.isfinite().all()
    assert pairs.images.min() >= 0
    assert pairs.images.max() <= 1
    assert pairs.masks.shape == (COUNT, SIZE, SIZE)
    assert pairs.captions.shape == (2, COUNT, 32)


def test_the_same_seed_gives_the_same_pairs_and_another_others(pairs: Pairs, others: Pairs) -> None:
    assert all(torch.equal(one, other) for one, other in zip(pairs, make(0), strict=True))
    assert not torch.equal(pairs.images, others.images)


def test_the_first_are_grey_views_on_white(pairs: Pairs) -> None:
    views, photos = pairs.images[:, VIEWS], pairs.images[:, PHOTOS]
    assert torch.equal(views[:, :, 0], views[:, :, 1])
    assert torch.equal(views[:, :, 0], views[:, :, 2])
    assert ((photos[:, :, 0] - photos[:, :, 2]).abs().amax((2, 3)) > 0.01).all()
    corners = pairs.images[:, :, :, [0, 0, -1, -1], [0, -1, 0, -1]].amin(dim=(0, 2))
    assert (corners[VIEWS] == 1).float().mean() > 0.9  # a large part may reach a corner
    assert (corners[PHOTOS] == 1).float().mean() < 0.3


def test_twins_differ_most_where_the_mask_says(pairs: Pairs, others: Pairs) -> None:
    """So table, lamp, noise and gaps must be the same."""
    for seen in (pairs, others):
        difference = (seen.images[1] - seen.images[0]).abs().amax(1)
        assert seen.masks.any(dim=(1, 2)).float().mean() > 0.9
        around = max_pool2d(seen.masks[:, None].float(), 25, 1, 12)[:, 0] > 0  # shadows and what a turned edge uncovers
        for rows in (VIEWS, PHOTOS):
            total = difference[rows].sum((1, 2))
            inside = (difference * around)[rows].sum((1, 2))
            assert (inside / total.clamp(min=1e-6)).median() > 0.8


def test_what_can_be_seen_differs_by_two_percent_on_five_pixels(pairs: Pairs, others: Pairs) -> None:
    for seen in (pairs, others):
        for i in range(COUNT):
            one, other = (seen.images[state, i][:, seen.masks[i]].T.tolist() for state in (0, 1))
            differences = [max(abs(a - b) for a, b in zip(*rgb, strict=True)) for rgb in zip(one, other, strict=True)]
            visible = len(differences) >= 5 and sum(differences) / len(differences) > 0.02
            assert seen.sure[i].item() == visible, i
    assert torch.cat([pairs.sure, others.sure]).float().mean() > 0.8


def test_masks_have_the_sizes_of_defects(pairs: Pairs) -> None:
    covered = pairs.masks[PHOTOS].sum((1, 2))
    largest_part = math.pi * (0.48 * SIZE) ** 2
    assert covered.max() < 2.5 * AREAS[1] * largest_part  # two ragged ones at most
    assert covered.median() < 0.05 * largest_part


def test_every_part_can_be_seen(pairs: Pairs, others: Pairs) -> None:
    images = torch.cat([pairs.images, others.images], dim=1)
    assert (images.flatten(3).std(-1).amax(2) > 0.005).float().mean() > 0.97
