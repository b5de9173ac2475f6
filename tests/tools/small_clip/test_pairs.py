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


@pytest.fixture(scope="module")
def pairs() -> Pairs:
    return make(0)


def test_they_are_what_they_say(pairs: Pairs) -> None:
    assert pairs.images.shape == (2, COUNT, 3, SIZE, SIZE)
    assert pairs.images.isfinite().all()
    assert pairs.images.min() >= 0
    assert pairs.images.max() <= 1
    assert pairs.masks.shape == (COUNT, SIZE, SIZE)
    assert pairs.captions.shape == (2, COUNT, 32)
    assert pairs.sure.float().mean() > 0.9


def test_the_same_seed_gives_the_same_pairs_and_another_others(pairs: Pairs) -> None:
    assert all(torch.equal(one, other) for one, other in zip(pairs, make(0), strict=True))
    assert not torch.equal(pairs.images, make(1).images)


def test_the_first_half_are_views_on_white(pairs: Pairs) -> None:
    corners = pairs.images[:, :, :, [0, 0, -1, -1], [0, -1, 0, -1]].amin(dim=(0, 2))
    views = round(VIEW_SHARE * COUNT)
    assert (corners[:views] == 1).float().mean() > 0.9  # a large part may reach a corner
    assert (corners[views:] == 1).float().mean() < 0.3


def test_twins_differ_most_where_the_mask_says(pairs: Pairs) -> None:
    difference = (pairs.images[1] - pairs.images[0]).abs().amax(1)
    assert pairs.masks.any(dim=(1, 2)).float().mean() > 0.95
    around = max_pool2d(pairs.masks[:, None].float(), 25, 1, 12)[:, 0] > 0  # shadows and what a turned edge uncovers
    photos = slice(round(VIEW_SHARE * COUNT), None)
    total = difference[photos].sum((1, 2))
    assert ((difference * around)[photos].sum((1, 2)) / total.clamp(min=1e-6)).median() > 0.8


def test_masks_have_the_sizes_of_defects(pairs: Pairs) -> None:
    photos = slice(round(VIEW_SHARE * COUNT), None)
    covered = pairs.masks[photos].sum((1, 2))
    largest_part = math.pi * (0.48 * SIZE) ** 2
    assert covered.max() < 2.5 * AREAS[1] * largest_part  # two ragged ones at most
    assert covered.median() < 0.05 * largest_part


def test_every_part_can_be_drawn() -> None:
    for seed in range(3):
        seen = make(10 + seed)
        assert (seen.images.flatten(3).std(-1).amax(2) > 0.005).float().mean() > 0.97
