# SPDX-License-Identifier: Apache-2.0
"""What a model answers to a sample that shows nothing."""

import math

from anomalib.data import InferenceBatch
from torch import Tensor


def withheld(answer: InferenceBatch, known: Tensor) -> InferenceBatch:
    """Replace the verdicts on samples that cannot be judged by one that nobody takes for "normal".

    Infinity, not NaN: `score > 0.5` is true for the one and false, as for a normal part, for the other.

    Args:
        answer: `pred_score` (B,), `anomaly_map` (B, S, S), and `pred_label` (B,) and `pred_mask` (B, S, S) or None.
        known: (B,) bool, true where the verdict counts.

    Returns:
        The answer, and where it does not count a score and a map of +inf, the label and all of the mask true.

    Example:
        >>> import torch
        >>> answer = InferenceBatch(pred_score=torch.tensor([0.2, 0.3]), anomaly_map=torch.zeros(2, 1, 1))
        >>> withheld(answer, torch.tensor([True, False])).pred_score
        tensor([0.2000,    inf])
    """
    score, label, heat, mask = answer.pred_score, answer.pred_label, answer.anomaly_map, answer.pred_mask
    pixels = known[:, None, None]
    return answer._replace(
        pred_score=None if score is None else score.where(known, math.inf),
        anomaly_map=None if heat is None else heat.where(pixels, math.inf),
        # not `where`: ONNX Runtime has none for truth values
        pred_label=None if label is None else label | ~known,
        pred_mask=None if mask is None else mask | ~pixels,
    )
