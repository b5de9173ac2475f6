# SPDX-License-Identifier: Apache-2.0
from typing import NamedTuple

import numpy as np
import pytest

from anomalib_clip3dad.toy import CATEGORIES, ToySample, toy_sample
from anomalib_clip3dad.toy.defects import DEFECTS

SIZE = (120, 120)


class Twins(NamedTuple):
    """A sample of a kind and what it would be without its defect."""

    name: str
    kind: str
    normal: ToySample
    anomalous: ToySample


@pytest.fixture(scope="session")
def all_twins() -> list[Twins]:
    """One pair for each defect of each kind, on the categories in turn."""
    wanted = [(kind, index) for kind, defects in DEFECTS.items() for index in range(len(defects))]
    wanted += [("missing", 0)]
    made = []
    for number, (kind, index) in enumerate(wanted):
        category = CATEGORIES[number % len(CATEGORIES)]
        both = [toy_sample(category, kind, 11, index=index, size=SIZE, flawless=flawless) for flawless in (True, False)]
        made.append(Twins(f"{category} {kind} {index}", kind, *both))
    return made


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)
