# SPDX-License-Identifier: Apache-2.0
"""Choosing points of clouds, finding their neighbours and interpolating between them, as PointNet++ does."""

import torch
from torch import Tensor

_EPSILON = 1e-8  # square metres, added to squared distances that features are weighted by


def farthest_points(points: Tensor, count: int) -> Tensor:
    """Choose points that cover a cloud, each the farthest from those before; the first is farthest from the centroid.

    PointNet++ (arXiv 1706.02413) starts anywhere, as does anomalib, at random; a fixed start gives the same features
    each time. The first n of the chosen points are what choosing n gives, also from the chosen points alone.

    Args:
        points: `(..., N, 3)`, any unit.
        count: Number of points to choose, at most N.

    Returns:
        `(..., count)` int64, indices of the points.

    Example:
        >>> line = torch.tensor([[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [9, 0, 0]])
        >>> farthest_points(line, 3).tolist()
        [3, 0, 2]
    """
    away = (points - points.mean(dim=-2, keepdim=True)).square().sum(dim=-1)
    chosen = [away.argmax(dim=-1)]
    away = torch.full_like(away, torch.inf)
    for _ in range(count - 1):
        last = points.gather(-2, chosen[-1][..., None, None].expand(*chosen[-1].shape, 1, 3))
        away = torch.minimum(away, (points - last).square().sum(dim=-1))
        chosen.append(away.argmax(dim=-1))
    return torch.stack(chosen, dim=-1)


def ball_neighbours(centres: Tensor, points: Tensor, radius: float, count: int) -> Tensor:
    """Find points around centres: the first `count` within a radius, in the order of the points.

    PointNet++, section 3.2. Where there are fewer, the first is repeated.

    Args:
        centres: `(B, M, 3)`, each of them one of the points, so that none is without a neighbour.
        points: `(B, N, 3)`, same unit.
        radius: Largest distance.
        count: K, number of neighbours, at most N.

    Returns:
        `(B, M, K)` int64, indices of points.

    Example:
        >>> line = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [9, 0, 0]]])
        >>> ball_neighbours(line[:, [1, 3]], line, radius=1.5, count=4).tolist()
        [[[0, 1, 2, 0], [3, 3, 3, 3]]]
    """
    near = distances(centres, points) <= radius
    order = torch.arange(points.shape[1], device=points.device)
    found = order.where(near, points.shape[1]).topk(count, dim=-1, largest=False).values
    return found.where(found < points.shape[1], found[..., :1])


def interpolate(values: Tensor, places: Tensor, points: Tensor) -> Tensor:
    """Interpolate features between the three nearest places, weighted by inverse squared distance, as PointNet++.

    Args:
        values: `(..., G, C)`, features.
        places: `(..., G, 3)`, where they are.
        points: `(..., N, 3)`, where they are wanted, same unit.

    Returns:
        `(..., N, C)`.

    Example:
        >>> ends = torch.tensor([[0.0, 0, 0], [3.0, 0, 0]])
        >>> interpolate(torch.tensor([[0.0], [5.0]]), ends, torch.tensor([[1.0, 0, 0]])).round().item()
        1.0
    """
    away, nearest = distances(points, places).topk(min(3, places.shape[-2]), largest=False)
    weights = 1 / (away.square() + _EPSILON)
    weights = weights / weights.sum(dim=-1, keepdim=True)
    return (weights[..., None] * pick(values, nearest)).sum(dim=-2)


def pick(values: Tensor, indices: Tensor) -> Tensor:
    """Gather rows by index.

    Args:
        values: `(..., N, C)`.
        indices: `(..., M)` or `(..., M, K)` int64, with the leading dimensions of `values`.

    Returns:
        `(..., M, C)` or `(..., M, K, C)`.
    """
    flat = indices.flatten(values.ndim - 2)
    rows = values.gather(-2, flat[..., None].expand(*flat.shape, values.shape[-1]))
    return rows.reshape(*indices.shape, values.shape[-1])


def distances(one: Tensor, other: Tensor) -> Tensor:
    """Distances `(..., N, M)` between points `(..., N, 3)` and `(..., M, 3)`.

    By differences: a matrix product's rounding would hide a tenth of a millimetre, and `torch.cdist` is not exported.
    """
    pairs = zip(one.unbind(dim=-1), other.unbind(dim=-1), strict=True)
    return torch.stack([(mine[..., None] - theirs[..., None, :]).square() for mine, theirs in pairs]).sum(dim=0).sqrt()
