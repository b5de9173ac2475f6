# SPDX-License-Identifier: Apache-2.0
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest

from anomalib_clip3dad.toy import ToySample, toy_sample

Twins = Callable[[str, str, int], tuple[ToySample, ToySample]]


@cache
def _twins(category: str, kind: str, index: int) -> tuple[ToySample, ToySample]:
    return (
        toy_sample(category, kind, 11, index=index, flawless=True),
        toy_sample(category, kind, 11, index=index),
    )


@pytest.fixture
def twins() -> Twins:
    """(flawless, defective) of a category, kind and index at 240 x 240; each made once."""
    return _twins


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)
