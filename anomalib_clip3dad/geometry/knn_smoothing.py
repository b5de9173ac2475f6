# SPDX-License-Identifier: Apache-2.0
"""Scores of unorganised points: smoothed over neighbours in space, and spread to all points of a file."""

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from .organised import validity_mask

# GS-CLIP smooths a map of 336 x 336 by a Gaussian of 4 cells, which averages over about 4 pi 4^2 = 201 of its cells. As
# large a share of 57600 points, the usual number here, is 103.
SMOOTHED_OVER = 100
"""Usual number of points to smooth over."""


def smooth_scores(xyz: Tensor, scores: Tensor, neighbours: int = SMOOTHED_OVER) -> Tensor:
    """Smooth the scores of unorganised points: the mean over the nearest points, of which the point itself is one.

    A Gaussian on the grid of an image would mix points that are far apart, as the neighbours in the list are none in
    space.

    Args:
        xyz: (B, 3, 1, N) points in any units, (0, 0, 0) = padding.
        scores: (B, 1, N), larger = more anomalous.
        neighbours: Number of points to average over; all of a cloud that has fewer.

    Returns:
        (B, 1, N) of the type of `scores`; 0 at padding.

    Example:
        >>> line = torch.tensor([[1.0, 0, 0], [2.0, 0, 0], [4.0, 0, 0], [0.0, 0, 0]]).T.reshape(1, 3, 1, 4)
        >>> smooth_scores(line, torch.tensor([[[0.0, 1.0, 5.0, 9.0]]]), neighbours=2).tolist()
        [[[0.5, 0.5, 3.0, 0.0]]]
    """
    there = validity_mask(xyz)
    smoothed = torch.zeros_like(scores)
    for place, known in enumerate(there[:, 0]):
        if known.any():
            points = xyz[place, :, 0][:, known].T.double().cpu().numpy()
            _, near = cKDTree(points).query(points, [*range(1, min(neighbours, len(points)) + 1)])
            values = scores[place, 0, known]
            smoothed[place, 0, known] = values[torch.from_numpy(near).to(values.device)].mean(dim=1)
    return smoothed


def spread_scores(points: np.ndarray, scores: np.ndarray, targets: np.ndarray, neighbours: int = 3) -> np.ndarray:
    """Give scores to points that were not judged: the mean of the nearest judged ones, weighted by inverse distance.

    Args:
        points: (N, 3) judged points, any units.
        scores: (N,) their scores, larger = more anomalous.
        targets: (M, 3) points in the same units, such as all points of the file that the judged ones are from.
        neighbours: Number of judged points that count for each.

    Returns:
        (M,) scores; that of the judged point where a target is one.

    Example:
        >>> ends = np.array([[0.0, 0, 0], [4.0, 0, 0]])
        >>> spread_scores(ends, np.array([0.0, 1.0]), np.array([[4.0, 0, 0], [1.0, 0, 0]])).tolist()
        [1.0, 0.25]
    """
    distances, near = cKDTree(points).query(targets, [*range(1, min(neighbours, len(points)) + 1)])
    same = distances[:, :1] == 0
    with np.errstate(divide="ignore"):
        weights = np.where(same, np.arange(distances.shape[1]) == 0, 1 / distances)
    return (weights * scores[near]).sum(axis=1) / weights.sum(axis=1)
