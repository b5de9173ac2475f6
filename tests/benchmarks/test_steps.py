# SPDX-License-Identifier: Apache-2.0
from argparse import Namespace
from pathlib import Path

import pytest
from steps import averages, run, settings

from anomalib_clip3dad.data import Toy3D


def arguments(clip_model: str, root: Path) -> Namespace:
    return Namespace(
        clip_model=clip_model, pretrained="random", layers=[1, 3], variant="full", k_shot=1, marks=[1, 2], root=root
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    Toy3D(tmp_path / "toy", "gear", size=(64, 80), num_train=1, num_good=2, num_defects=1).prepare_data()
    return tmp_path / "toy"


def test_a_point_for_the_untrained_model_and_one_at_each_mark(tiny_clip: str, root: Path) -> None:
    curves = {
        schedule: list(run((1, 1.0, schedule, "gear", 0), arguments(tiny_clip, root)))
        for schedule in ("constant", "cosine")
    }
    for points in curves.values():
        assert [point["step"] for point in points] == [0, 1, 2]
        assert all(0 <= point[metric] <= 1 for point in points for metric in ("image_AUROC", "pixel_AUROC"))
    assert curves["constant"][0]["pixel_AUROC"] == curves["cosine"][0]["pixel_AUROC"]


def test_one_thing_differs_from_the_base() -> None:
    given = Namespace(batch_sizes=[2, 1], factors=[1.0, 3.0], schedules=["constant", "cosine"])
    base, *others = settings(given)
    assert base == (2, 1.0, "constant")
    assert others == [(1, 1.0, "constant"), (2, 3.0, "constant"), (2, 1.0, "cosine")]


def test_averages_over_categories_first_and_seeds_then() -> None:
    points = [
        {"step": step, "seed": seed, "m": step + 10 * seed + category}
        for step in (0, 5)
        for seed in (0, 1)
        for category in (-1, 1)
    ]
    assert averages(points, "m") == ([0, 5], [5, 10], [5, 5])
