# SPDX-License-Identifier: Apache-2.0
from itertools import product
from pathlib import Path

import pytest
import torch
from shot_runs import summary
from zero_shot import auroc, evaluate, image_aurocs, mean_of, parts_of, read

from anomalib_clip3dad.models import Clip3dAd


def by_pairs(good: torch.Tensor, faulty: torch.Tensor) -> float:
    """AUROC by its meaning: every pair of a good and a faulty one."""
    points = [1.0 if f > g else 0.5 if f == g else 0.0 for g, f in product(good.tolist(), faulty.tolist())]
    return sum(points) / len(points)


@pytest.mark.parametrize("levels", [2, 7, 10_000])  # from many ties to none
def test_auroc(levels: int) -> None:
    for _ in range(20):
        good, faulty = (torch.randint(levels, (count,)) / 5000 for count in (9, 14))
        assert auroc(good, faulty) == pytest.approx(by_pairs(good, faulty))
    assert auroc(torch.tensor([1.99999988]), torch.tensor([2.0])) == 1.0  # two neighbours in float32


def test_image_aurocs_compare_each_kind_with_the_good() -> None:
    kinds = ["missing", "good", "colour", "good", "missing", "good"]
    scores = torch.rand(6)
    good = scores[[1, 3, 5]]
    assert image_aurocs(scores, kinds) == {
        "image_AUROC": pytest.approx(by_pairs(good, scores[[0, 2, 4]])),
        "colour": pytest.approx(by_pairs(good, scores[[2]])),
        "missing": pytest.approx(by_pairs(good, scores[[0, 4]])),
    }


def test_by_prompts_alone_is_the_untrained_model(tiny_clip: str, tmp_path: Path) -> None:
    data = parts_of("gear", str(tmp_path), 2, 1, size=(64, 80), num_train=1, num_validation=1)
    model = Clip3dAd(
        tiny_clip,
        None,
        "gear",
        layers=[3],
        adapter_ratio=0.0,
        fusion="late",
        crop_to_part=True,
        score_reduction="part_max",
        post_processor=False,
    ).eval()
    samples = read(model, data)
    assert samples.masks.shape == (6, 96, 96)
    assert samples.masks.flatten(1).any(1).tolist() == [kind != "good" for kind in samples.kinds]
    result = evaluate(samples, model)
    kinds = {"image_AUROC", "colour", "combined", "geometry", "missing"}
    assert all(kinds <= result[score].keys() for score in ("model", "picture", "picture_cls", "views_cls"))
    assert {"pixel_AUROC", "pixel_AUPRO"} < result["model"].keys()

    with torch.inference_mode():
        scores = [model(item.image[None], item.depth_map[None]).pred_score for item in data.test_data]
    found = {name: result["model"][name] for name in kinds}
    assert found == pytest.approx(image_aurocs(torch.cat(scores), samples.kinds))

    # before any training, adapters and decoder change nothing
    alone = Clip3dAd(tiny_clip, None, "gear", layers=[3], views=[], adapter_ratio=0.0, post_processor=False).eval()
    cropped = read(model, data).features
    with torch.inference_mode():
        of_picture = alone.model.compare(cropped._replace(view_cls=cropped.view_cls[:, :0])).pred_score
    assert {name: result["picture"][name] for name in kinds} == pytest.approx(image_aurocs(of_picture, samples.kinds))


def test_mean_of() -> None:
    rows = [{"a": 1.0, "b": {"c": 2.0}}, {"a": 3.0, "b": {"c": 4.0}}]
    assert mean_of(rows) == {"a": 2.0, "b": {"c": 3.0}}


def test_summary() -> None:
    known = {"pretrained": "small", "variant": "full", "k_shot": 1}
    values = {("gear", 0): 0.5, ("gear", 1): 0.7, ("ring", 0): 0.9, ("ring", 1): 0.9}
    done = [known | {"category": name, "seed": seed, "m": value} for (name, seed), value in values.items()]
    done.append(known | {"k_shot": 4, "category": "gear", "seed": 0, "m": 0.1})
    found = {(row["k_shot"], row["category"]): row["metrics"]["m"] for row in summary(done)}
    assert found == {
        (1, "gear"): {"mean": pytest.approx(0.6), "deviation": pytest.approx(0.02**0.5)},
        (1, "ring"): {"mean": pytest.approx(0.9), "deviation": 0},
        (1, "mean"): {"mean": pytest.approx(0.75), "deviation": pytest.approx(0.005**0.5)},
        (4, "gear"): {"mean": 0.1, "deviation": None},
        (4, "mean"): {"mean": 0.1, "deviation": None},
    }
