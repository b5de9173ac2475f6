# SPDX-License-Identifier: Apache-2.0
"""How often a shot is read; that the losses stay the same stands in test_lightning_model."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from anomalib_clip3dad.models.clip3d_ad.features import FrozenFeatures
from anomalib_clip3dad.models.clip3d_ad.known_shots import KnownShotsMixin
from tests.conftest import depth_batch


class Reader(KnownShotsMixin):
    """Its features are the images' first channel, and it notes how many images it is given at once."""

    def __init__(self, steady: bool = True) -> None:
        super().__init__()
        self.steady, self.sizes = steady, []

    def cut(self, image: Tensor, xyz: Tensor, foreground: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return image, xyz, foreground

    def read(self, parts: tuple[Tensor, ...]) -> FrozenFeatures:
        image = parts[0]
        self.sizes.append(len(image))
        return FrozenFeatures(**{name: image[:, :1].clone() for name in FrozenFeatures._fields})

    def _shots(self, batch: object) -> list[str]:  # noqa: ARG002
        return [f"{i}.png" for i in self.order] if self.steady else []


def pairs(order: list[int], noise: float) -> tuple[SimpleNamespace, Tensor]:
    """The shots in some order, and as many anomalous ones."""
    batch = depth_batch(3)
    image, xyz = batch.image[order], batch.depth_map[order]
    both = SimpleNamespace(image=torch.cat([image, image + noise]), depth_map=torch.cat([xyz, xyz]))
    return both, both.image[:, :1]


@pytest.fixture
def reader() -> Reader:
    return Reader()


def given(reader: Reader, order: list[int], noise: float) -> None:
    reader.order = order
    batch, expected = pairs(order, noise)
    found = reader.read_pairs(batch, torch.ones(len(batch.image), 48, 48, dtype=torch.bool))
    assert all(torch.equal(value, expected) for value in found)


def test_each_shot_is_read_once_and_alone(reader: Reader) -> None:
    given(reader, [0, 1], 0.1)
    assert reader.sizes == [1, 1, 2]
    given(reader, [1, 2], 0.2)
    assert reader.sizes[3:] == [1, 2]
    given(reader, [2, 0], 0.3)
    assert reader.sizes[5:] == [2]


def test_another_fit_reads_them_anew(reader: Reader) -> None:
    given(reader, [0], 0.1)
    reader.on_fit_start()
    given(reader, [0], 0.1)
    reader.teardown("fit")
    given(reader, [0], 0.1)
    assert reader.sizes == [1, 1] * 3


def test_what_may_change_is_read_together_every_time() -> None:
    reader = Reader(steady=False)
    given(reader, [0, 1], 0.1)
    given(reader, [0, 1], 0.1)
    assert reader.sizes == [4, 4]
