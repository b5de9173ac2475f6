# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch
from torch.nn import functional

from anomalib_clip3dad.models.clip3d_ad.loss import bidirectional_contrastive_loss, segmentation_loss


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    a, b = a.double(), b.double()
    return float(sum(x * y for x, y in zip(a, b, strict=True))) / math.sqrt(float((a * a).sum()) * float((b * b).sum()))


def reference(i_p: torch.Tensor, i_n: torch.Tensor, t_p: torch.Tensor, t_n: torch.Tensor) -> float:
    """Eq. 11, 12 and 13 as printed, for one pair."""
    e = math.exp
    i2t = -math.log(e(cosine(i_p, t_p)) / (e(cosine(i_p, t_p)) + e(cosine(i_p, t_n))))
    i2t -= math.log(e(cosine(i_n, t_n)) / (e(cosine(i_n, t_n)) + e(cosine(i_n, t_p))))
    t2i = -math.log(e(cosine(i_p, t_p)) / (e(cosine(i_p, t_p)) + e(cosine(i_n, t_p))))
    t2i -= math.log(e(cosine(i_n, t_n)) / (e(cosine(i_n, t_n)) + e(cosine(i_p, t_n))))
    return 0.5 * (i2t + t2i)


@pytest.mark.parametrize("texts", [1, 3])
def test_equations_11_to_13(texts: int) -> None:
    image_normal, image_anomalous = torch.randn(3, 7), torch.randn(3, 7)
    text_normal, text_anomalous = torch.randn(texts, 7), torch.randn(texts, 7)
    pairs = [
        reference(image_normal[i], image_anomalous[i], text_normal[i % texts], text_anomalous[i % texts])
        for i in range(3)
    ]
    loss = bidirectional_contrastive_loss(image_normal, image_anomalous, text_normal, text_anomalous)
    assert loss.item() == pytest.approx(sum(pairs) / 3, abs=1e-6)


def test_temperature_divides_the_similarities() -> None:
    normal, anomalous = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    loss = bidirectional_contrastive_loss(normal, anomalous, normal, anomalous, temperature=0.1)
    assert loss.item() == pytest.approx(2 * math.log(1 + math.exp(-10)), abs=1e-7)


def test_states_exchanged_cost_more() -> None:
    normal, anomalous = torch.randn(4, 5), torch.randn(4, 5)
    right = bidirectional_contrastive_loss(normal, anomalous, normal, anomalous)
    assert bidirectional_contrastive_loss(anomalous, normal, normal, anomalous) > right


def test_equation_14() -> None:
    anomaly_map, mask = torch.rand(2, 3, 4) * 0.9 + 0.05, torch.rand(2, 3, 4) > 0.5
    total = 0.0
    for p, m in zip(anomaly_map.flatten().tolist(), mask.flatten().tolist(), strict=True):
        total -= math.log(p) if m else math.log(1 - p)
    assert segmentation_loss(anomaly_map, mask).item() == pytest.approx(total / 24, abs=1e-6)


def test_balanced_loss_is_the_mean_of_both_kinds_of_pixels() -> None:
    anomaly_map, mask = torch.rand(2, 3, 4) * 0.9 + 0.05, torch.zeros(2, 3, 4, dtype=torch.bool)
    mask[0, 1, 2] = mask[1, 0, 0] = True
    each: dict[bool, list[float]] = {True: [], False: []}
    for p, m in zip(anomaly_map.flatten().tolist(), mask.flatten().tolist(), strict=True):
        each[m].append(-math.log(p) if m else -math.log(1 - p))
    expected = (sum(each[True]) / 2 + sum(each[False]) / 22) / 2
    assert segmentation_loss(anomaly_map, mask, balanced=True).item() == pytest.approx(expected, abs=1e-6)


def test_balanced_loss_of_normal_images_is_finite() -> None:
    anomaly_map = torch.full((1, 4, 4), 0.25, requires_grad=True)
    loss = segmentation_loss(anomaly_map, torch.zeros(1, 4, 4), balanced=True)
    assert loss.item() == pytest.approx(-math.log(0.75) / 2)
    assert torch.autograd.grad(loss, anomaly_map)[0].isfinite().all()


def test_segmentation_loss_under_autocast() -> None:
    anomaly_map, mask = torch.rand(1, 4, 4), torch.rand(1, 4, 4) > 0.5
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert segmentation_loss(anomaly_map, mask).dtype == torch.float32


def test_cross_entropy_is_outside_autocast_which_refuses_it_on_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    given = functional.binary_cross_entropy

    def watched(*args: torch.Tensor, **kwargs: str) -> torch.Tensor:
        seen.append(torch.is_autocast_enabled("cpu"))
        return given(*args, **kwargs)

    monkeypatch.setattr(functional, "binary_cross_entropy", watched)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        segmentation_loss(torch.rand(1, 4, 4), torch.rand(1, 4, 4) > 0.5)
    assert seen == [False]
