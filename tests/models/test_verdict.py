# SPDX-License-Identifier: Apache-2.0
import math

import torch
from anomalib.data import InferenceBatch

from anomalib_clip3dad.models.verdict import withheld


def test_what_cannot_be_judged_is_no_normal_part() -> None:
    answer = InferenceBatch(
        pred_score=torch.tensor([0.2, 0.9]),
        pred_label=torch.tensor([False, True]),
        anomaly_map=torch.tensor([[[0.1]], [[0.8]]]),
        pred_mask=torch.tensor([[[False]], [[True]]]),
    )
    found = withheld(answer, torch.tensor([False, True]))
    assert found.pred_score.tolist() == [math.inf, torch.tensor(0.9).item()]
    assert found.pred_label.tolist() == [True, True]
    assert found.anomaly_map.flatten().tolist() == [math.inf, torch.tensor(0.8).item()]
    assert found.pred_mask.flatten().tolist() == [True, True]
    assert all(score > limit for score in found.pred_score[:1].tolist() for limit in (0.5, 1e30))


def test_what_is_not_there_stays_away() -> None:
    found = withheld(InferenceBatch(pred_score=torch.zeros(1)), torch.tensor([True]))
    assert found == InferenceBatch(pred_score=torch.zeros(1))
