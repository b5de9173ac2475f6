# SPDX-License-Identifier: Apache-2.0
from itertools import product
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from anomalib_clip3dad.benchmark import METRICS
from anomalib_clip3dad.benchmark.figure import _bars, draw


@pytest.fixture
def numbers() -> pd.DataFrame:
    rows = [
        {"model": model, "k_shot": k_shot, "metric": metric, "category": category}
        | {"mean": 10.0 * (1 + index) + k_shot, "std": 2.0, "published": 55.0 if model == "a" else None}
        for k_shot, metric in product((1, 4), METRICS)
        for index, (model, category) in enumerate(product("ab", ("nut", "mean")))
    ]
    return pd.DataFrame(rows)


def test_bars_are_means_with_their_deviation_and_the_published_number(numbers: pd.DataFrame) -> None:
    place = Figure().subplots()
    _bars(place, numbers[(numbers.metric == METRICS[0]) & (numbers.k_shot == 1)])
    assert [bar.get_height() for bar in place.patches] == [11, 21, 31, 41]
    assert [bar.get_x() + bar.get_width() / 2 for bar in place.patches] == pytest.approx([-0.2, 0.8, 0.2, 1.2])
    drawn = [line.get_segments() for line in place.collections if hasattr(line, "get_segments")]
    assert [[segment[:, 1].tolist() for segment in bar] for bar in drawn] == [[[9, 13], [19, 23]], [[29, 33], [39, 43]]]
    marks = [points.get_offsets() for points in place.collections if not hasattr(points, "get_segments")]
    assert marks[0][:, 1].tolist() == [55, 55]
    assert marks[1][:, 1].mask.all()
    assert [label.get_text() for label in place.get_xticklabels()] == ["nut", "mean"]
    assert place.get_legend_handles_labels()[1] == ["published", "a", "b"]


def test_a_picture_of_every_k_beside_the_other(numbers: pd.DataFrame, tmp_path: Path) -> None:
    draw(numbers, tmp_path / "both.png")
    draw(numbers[numbers.k_shot == 1], tmp_path / "one.png")
    with Image.open(tmp_path / "both.png") as both, Image.open(tmp_path / "one.png") as one:
        assert both.width == 2 * one.width
        assert both.height == one.height
