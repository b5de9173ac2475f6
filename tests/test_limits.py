# SPDX-License-Identifier: Apache-2.0
"""The readers and the models draw the line at the same places."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from anomalib_clip3dad.data.notes import collected
from anomalib_clip3dad.data.plausible import check_sample
from anomalib_clip3dad.errors import InputError
from anomalib_clip3dad.geometry import holds_evidence
from tests.conftest import bumpy_part


def measured(count: int) -> tuple[Tensor, Tensor]:
    """A part of 100 x 100 pixels of which some were measured, all in one place."""
    image, xyz = bumpy_part(100, 100)
    xyz = torch.where(xyz[2] > 0, xyz, xyz[:, 50:51, 50:51])  # without the holes of a bumpy part
    side = 12
    rank = torch.full((100, 100), 10000)
    rank[40 : 40 + side, 40 : 40 + side] = torch.arange(side**2).reshape(side, side)
    return image, xyz * (rank < count)


def with_contrast(levels: float) -> tuple[Tensor, Tensor]:
    """A part whose image varies by some of 255 levels."""
    image, xyz = bumpy_part(100, 100)
    return 0.5 + (image > 0.5) * (levels / 255), xyz


def is_fine_to_the_readers(image: Tensor, xyz: Tensor) -> bool:
    try:
        with collected() as notes:
            check_sample(Path("a.png"), image.numpy(), Path("a.npy"), xyz.numpy())
    except InputError:
        return False
    return not notes


@pytest.mark.parametrize(
    ("make", "at", "fine"),
    [(measured, 102, True), (measured, 98, False), (with_contrast, 2.1, True), (with_contrast, 1.9, False)],
)
def test_both_say_the_same(make: Callable[[float], tuple[Tensor, Tensor]], at: float, fine: bool) -> None:
    image, xyz = make(at)
    assert holds_evidence(image[None], xyz[None]).tolist() == [fine]
    assert is_fine_to_the_readers(image, xyz) is fine
