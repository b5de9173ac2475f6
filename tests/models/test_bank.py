# SPDX-License-Identifier: Apache-2.0
"""What a model is shown of its shots, and when."""

import logging
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from anomalib.data import InferenceBatch
from anomalib.models.components import AnomalibModule
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import Tensor, nn

from anomalib_clip3dad.models.bank import ShotBankMixin
from anomalib_clip3dad.models.base import RGBXYZModel
from tests.conftest import depth_batch


class Noting(ShotBankMixin, RGBXYZModel, AnomalibModule):  # type: ignore[misc]
    """Notes what it is shown."""

    def __init__(self, **kwargs: Any) -> None:
        self._image_size = (48, 48)
        super().__init__(**kwargs)
        self.model = nn.Module()
        self.pictures: list[Tensor] = []
        self.seeds: list[int] = []

    def remember(self, image: Tensor, xyz: Tensor, foreground: Tensor) -> None:
        assert foreground.shape == xyz[:, 0].shape
        assert foreground.any()
        self.pictures += image

    def make_bank(self, seed: int) -> None:
        self.seeds.append(seed)

    def judge(self, image: Tensor, xyz: Tensor, foreground: Tensor) -> InferenceBatch:
        raise NotImplementedError


@pytest.fixture
def model() -> Noting:
    return Noting(visualizer=False)


def test_it_says_that_it_fills_a_bank(model: Noting) -> None:
    assert model.learns_by == "bank"
    assert model.trainer_arguments["max_epochs"] == 1
    assert model.configure_optimizers() is None


def test_each_picture_is_shown_once(model: Noting) -> None:
    batch = depth_batch(3)
    batch.image_path[2] = batch.image_path[0]  # a loader that fills its batch
    for _ in range(2):
        assert model.training_step(batch).requires_grad
    assert len(model.pictures) == 2
    assert all(torch.equal(picture, batch.image[row]) for row, picture in enumerate(model.pictures))


def test_without_paths_all_are_shown(model: Noting) -> None:
    batch = depth_batch(2)
    batch.image_path = None
    for _ in range(2):
        model.training_step(batch)
    assert len(model.pictures) == 4


def test_another_fit_starts_anew(model: Noting) -> None:
    for _ in range(2):
        model._trainer = SimpleNamespace(datamodule=None, strategy=SingleDeviceStrategy())
        model.on_fit_start()
        model.training_step(depth_batch(2))
    assert len(model.pictures) == 4


def test_the_seed_is_its_own_or_torchs(model: Noting) -> None:
    torch.manual_seed(2**40 + 5)
    model.fit()
    model.seed = 7
    model.fit()
    assert model.seeds == [5, 7]


def test_shots_that_were_not_shown_are_said(model: Noting, caplog: pytest.LogCaptureFixture) -> None:
    model.training_step(depth_batch(2))
    model.training_files = ["a", "b", "c"]
    with caplog.at_level(logging.WARNING):
        model.fit()
    assert "ended after 2 of 3 samples" in caplog.text
