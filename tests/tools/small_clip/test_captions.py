# SPDX-License-Identifier: Apache-2.0
import re
from collections.abc import Iterable
from typing import Any

import open_clip
import pytest
import torch
from anomalib.models.image.winclip.prompting import ANOMALOUS_STATES, NORMAL_STATES
from small_clip import captions as module
from small_clip.captions import Captions
from small_clip.defects import KINDS, NAMES
from small_clip.fields import Dice

SHAPES, MATERIALS, COLOURS = [("bolt", "hex bolt"), ("leaf",)], [("cork",), ("brushed metal",)], ["dark green", "red"]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return open_clip.SimpleTokenizer(context_length=32)


def writer(tokenizer: Any, length: int = 32) -> Captions:
    marks = tokenizer.sot_token_id, tokenizer.eot_token_id
    return Captions(tokenizer.encode, *marks, length, SHAPES, MATERIALS, COLOURS)


def write(tokenizer: Any, count: int = 200, length: int = 32) -> torch.Tensor:
    dice = Dice(0)
    index = [dice.below(2, count) for _ in range(4)]
    return writer(tokenizer, length).write(dice, *index[:3], index[3] == 1, dice.below(len(NAMES), count))


def read(tokenizer: Any, row: torch.Tensor) -> str:
    return tokenizer.decode([t for t in row.tolist() if t]).replace("<start_of_text>", "").replace("<end_of_text>", "")


def test_captions_are_what_the_tokenizer_makes_of_their_words(tokenizer: Any) -> None:
    known = 0
    for row in write(tokenizer).flatten(0, 1):
        text = read(tokenizer, row)
        if re.search(r"\b(bolt|leaf|object|part|component|item|thing|product|workpiece|specimen)\b", text):
            torch.testing.assert_close(row, tokenizer(text, context_length=32)[0])
            known += 1
    assert known > 150  # the others have invented names


def test_twins_differ_in_the_state_only(tokenizer: Any) -> None:
    normal, faulty = write(tokenizer)

    def tokens(states: Iterable[str]) -> set[int]:
        return {token for state in states for token in tokenizer.encode(state.replace("{}", " "))}

    good, bad = tokens(module._NORMAL), tokens([*module._ANOMALOUS, *(s for k in KINDS.values() for s in k.states)])
    differing = 0
    for one, other in zip(normal, faulty, strict=True):
        words = [set(row.tolist()) - {0} for row in (one, other)]
        assert words[0] - words[1] <= good
        assert words[1] - words[0] <= bad
        differing += words[0] != words[1]
    assert differing == len(normal)


def test_states_of_the_compositional_prompt_ensemble_are_among_them() -> None:
    assert set(NORMAL_STATES) <= set(module._NORMAL)
    assert set(ANOMALOUS_STATES) <= set(module._ANOMALOUS)


def test_long_captions_are_cut_and_still_end(tokenizer: Any) -> None:
    rows = write(tokenizer, length=8).flatten(0, 1)
    assert rows.shape[1] == 8
    assert (rows[:, 0] == tokenizer.sot_token_id).all()
    assert ((rows == tokenizer.eot_token_id).sum(1) == 1).all()
