# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch
from anomalib.data import ImageBatch
from anomalib.metrics import AUROC

from anomalib_clip3dad.clip.similarity import anomalous_share
from anomalib_clip3dad.models.clip3d_ad.scoring import anomaly_score, late_score, part_patches, reduce_on_part


def test_equations_16_to_18() -> None:
    image, text, s_map = torch.randn(3, 5), torch.randn(2, 5), torch.rand(3, 4, 6)
    scores = anomaly_score([anomalous_share(image, text)], [s_map.amax((1, 2))])
    for b in range(3):
        s = [float(torch.dot(image[b], t) / image[b].norm() / t.norm()) for t in text]
        total = math.exp(s[0] / 0.07) + math.exp(s[1] / 0.07)
        positive, negative = math.exp(s[0] / 0.07) / total, math.exp(s[1] / 0.07) / total
        expected = negative / (negative + positive) + max(s_map[b].flatten().tolist())
        assert scores[b].item() == pytest.approx(expected / 2, abs=1e-5)


def test_the_worst_score_is_no_logit_to_torchmetrics() -> None:
    """In batches of one, each of which torchmetrics looks at by itself."""
    text = torch.eye(2)
    values = (torch.tensor([x]) for x in (0.9, 1.0, 0.2, 0.8))
    scores = [anomaly_score([anomalous_share(torch.stack([torch.ones(1), x], 1), text)], [x]) for x in values]
    metric = AUROC(fields=["pred_score", "gt_label"])
    for score, label in zip(scores, (True, True, False, False), strict=True):
        metric.update(ImageBatch(image=torch.zeros(1, 3, 2, 2), pred_score=score, gt_label=torch.tensor([label])))
    assert metric.compute() == 1
    assert max(scores) <= 1


def test_late_score_is_a_noisy_or() -> None:
    images, maps = list(torch.rand(2, 4)), list(torch.rand(2, 4))
    scores = late_score(images, maps)
    for i in range(4):
        normal = 1.0
        for share in (*images, *maps):
            normal *= 1 - share[i].item()
        assert scores[i].item() == pytest.approx(1 - normal**0.25, abs=1e-6)


def test_patches_show_the_part_on_half_of_their_pixels() -> None:
    foreground = torch.rand(3, 8, 12) > 0.5
    foreground[2] = False
    part = part_patches(foreground, (2, 3))
    for b in range(2):
        for p in range(6):
            row, column = 4 * (p // 3), 4 * (p % 3)
            assert part[b, p] == (foreground[b, row : row + 4, column : column + 4].sum() >= 8)
    assert part[2].all()  # no part: all there is


@pytest.mark.parametrize("on_part", [1, 3, 9])
def test_what_of_the_map_counts(on_part: int) -> None:
    shares, part = torch.rand(2, 12), torch.zeros(2, 12, dtype=torch.bool)
    part[:, :on_part] = True
    shares[:, on_part:] += 1  # the table
    for b in range(2):
        shown = sorted(shares[b, :on_part].tolist(), reverse=True)
        assert reduce_on_part(shares, part, "part_max")[b].item() == pytest.approx(shown[0])
        mean = sum(shown[:5]) / len(shown[:5])
        assert reduce_on_part(shares, part, "part_top5")[b].item() == pytest.approx(mean, abs=1e-6)


class OnPart(torch.nn.Module):
    def forward(self, shares: torch.Tensor, foreground: torch.Tensor) -> torch.Tensor:
        return reduce_on_part(shares, part_patches(foreground, (3, 4)), "part_top5")


def test_scores_on_the_part_export_with_a_free_batch() -> None:
    given = torch.rand(2, 12), torch.rand(2, 12, 16) > 0.5
    batch = torch.export.Dim("batch")
    exported = torch.export.export(OnPart(), given, dynamic_shapes=({0: batch}, {0: batch})).module()
    more = torch.rand(5, 12), torch.rand(5, 12, 16) > 0.5
    torch.testing.assert_close(exported(*more), OnPart()(*more))
