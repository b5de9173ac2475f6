# SPDX-License-Identifier: Apache-2.0
from types import SimpleNamespace
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.figure import Figure

from anomalib_clip3dad.callbacks import AnomalySynthesis
from anomalib_clip3dad.visualization.sheet import draw_sheet
from tests.conftest import depth_batch

TILE, GAP = 160, 6


class Model:
    def __init__(self, views: int) -> None:
        self.views = views

    def render(self, image: torch.Tensor, xyz: torch.Tensor, foreground: torch.Tensor) -> torch.Tensor | None:
        assert len(image) == len(xyz) == len(foreground)
        return torch.full((len(image), self.views, 3, 48, 48), 0.25) if self.views else None


def pairs(size: int = 2) -> Any:
    batch = depth_batch(size)
    trainer = SimpleNamespace(current_epoch=0, global_rank=0, world_size=1)
    AnomalySynthesis(geometry=1.0, seed=0).on_train_batch_start(trainer, None, batch, 0)
    return batch


def sheet(batch: Any, views: int = 2) -> tuple[Figure, np.ndarray]:
    figure = draw_sheet(Model(views), batch, "a title")
    return figure, np.asarray(figure.axes[0].images[0].get_array())


def tile(paper: np.ndarray, row: int, column: int) -> np.ndarray:
    top, left = TILE * row + GAP * (row + 2 * (row // 2)), (TILE + GAP) * column
    return paper[top : top + TILE, left : left + TILE]


def test_each_pair_has_two_rows_of_image_height_and_views() -> None:
    figure, paper = sheet(pairs())
    assert paper.shape == (4 * TILE + 5 * GAP, 4 * TILE + 3 * GAP, 3)
    told = [text.get_text() for text in figure.axes[0].texts]
    assert told == ["image", "height", "view 1", "view 2", *["normal", "anomalous"] * 2]
    assert figure.texts[0].get_text() == "a title"
    assert np.allclose(tile(paper, 3, 3), 0.25)


def test_anomalies_are_outlined_on_the_anomalous_image_alone() -> None:
    _, paper = sheet(pairs())
    colour = np.array(mpl.colors.to_rgb("lime"))
    outlined = [(np.abs(tile(paper, row, 0) - colour) < 1e-6).all(axis=-1).sum() for row in range(4)]
    assert outlined[0] == outlined[2] == 0
    assert min(outlined[1], outlined[3]) > 20


def test_height_shows_what_was_done_to_the_cloud() -> None:
    _, paper = sheet(pairs())
    for pair in (0, 2):
        assert (tile(paper, pair, 1) != tile(paper, pair + 1, 1)).any(axis=-1).mean() > 0.001


def test_many_pairs_and_views_are_cut_short_and_none_is_needed() -> None:
    _, paper = sheet(pairs(6), views=9)
    assert paper.shape[:2] == (8 * TILE + (7 + 6) * GAP, 7 * TILE + 6 * GAP)
    _, paper = sheet(pairs(1), views=0)
    assert paper.shape[:2] == (2 * TILE + GAP, 2 * TILE + GAP)
