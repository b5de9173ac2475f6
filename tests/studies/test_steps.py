# SPDX-License-Identifier: Apache-2.0
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace

import pytest
from steps import Curve, averages, run, settings


def arguments(clip_model: str, root: Path) -> Namespace:
    return Namespace(
        clip_model=clip_model, pretrained="random", layers=[1, 3], variant="tuned", k_shot=1, marks=[1, 2], root=root
    )


def test_a_point_for_the_untrained_model_and_one_at_each_mark(tiny_clip: str, tmp_path: Path) -> None:
    toy = {"size": (64, 80), "num_train": 1, "num_validation": 1, "num_good": 2, "num_defects": 1}
    curves = {
        schedule: list(run((1, 1.0, schedule, "gear", 0), arguments(tiny_clip, tmp_path), **toy))
        for schedule in ("constant", "cosine")
    }
    for points in curves.values():
        assert [point["step"] for point in points] == [0, 1, 2]
        assert all(0 <= point[metric] <= 1 for point in points for metric in ("image_AUROC", "pixel_AUROC"))
    assert curves["constant"][0]["pixel_AUROC"] == curves["cosine"][0]["pixel_AUROC"]


@pytest.mark.parametrize(("schedule", "shares"), [("constant", [1, 1, 1]), ("cosine", [1, 0.5, 0])])
def test_learning_rates_follow_factor_and_schedule(schedule: str, shares: list[float]) -> None:
    groups = [{"lr": 1e-3}, {"lr": 1e-5}]
    curve = Curve([1, 4], factor=3.0, schedule=schedule)
    for step, share in zip((0, 2, 4), shares, strict=True):
        curve.on_train_batch_start(SimpleNamespace(global_step=step, optimizers=[SimpleNamespace(param_groups=groups)]))
        assert [group["lr"] for group in groups] == pytest.approx([3e-3 * share, 3e-5 * share])


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
    assert averages(points, "m") == ([0, 5], [5, 10], [pytest.approx(50**0.5)] * 2)
