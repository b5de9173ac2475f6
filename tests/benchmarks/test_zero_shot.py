# SPDX-License-Identifier: Apache-2.0
from itertools import product
from pathlib import Path

import open_clip
import pytest
import torch
from few_shot import summary
from zero_shot import auroc, encode, evaluate, image_aurocs, mean_of, render

from anomalib_clip3dad.clip import embed_prompts, load_clip, prompt_ensemble
from anomalib_clip3dad.data import Toy3D
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


def test_zero_shot_is_the_untrained_model_without_views(tiny_clip: str, tmp_path: Path) -> None:
    clip = load_clip(tiny_clip, None)
    text = embed_prompts(clip, open_clip.get_tokenizer(tiny_clip), *prompt_ensemble("cpe", "gear"))
    data = Toy3D(tmp_path, "gear", size=(64, 80), num_train=1, num_validation=1, num_good=2, num_defects=1)
    samples = render(data, 48)
    assert samples.pictures.shape == (6, 6, 3, 48, 48)
    assert samples.masks.shape == (6, 48, 48)
    assert samples.masks.flatten(1).any(1).tolist() == [kind != "good" for kind in samples.kinds]

    encoded = encode(clip, samples.pictures)
    result = evaluate(samples, encoded, text)
    kinds = {"image_AUROC", "colour", "combined", "geometry", "missing"}
    assert all(result[score].keys() == kinds for score in ("picture", "views", "mean", "max"))
    assert {"pixel_AUROC", "pixel_AUPRO"} < result.keys()

    # before any training, adapters, decoder and fusion change nothing
    model = Clip3dAd(tiny_clip, None, "gear", layers=[3], views=[], adapter_ratio=0.0, post_processor=False).eval()
    with torch.inference_mode():
        scores = model.model(samples.pictures[:, 0]).pred_score
    assert result["picture"] == pytest.approx(image_aurocs(scores, samples.kinds))


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
