# SPDX-License-Identifier: Apache-2.0
"""Fast Point Feature Histograms: the local surface shape around each point in 33 numbers."""

import math
from typing import NamedTuple

import numpy as np
import torch
from einops import rearrange
from scipy.sparse import csr_array
from scipy.spatial import cKDTree
from torch import Tensor

from .organised import check_shape

_BINS = 11  # for each of the three angles
FPFH_SIZE = 3 * _BINS

# Pairs of points whose angles are computed at once: blocks that fit a core's cache are three times as fast.
_PAIRS_AT_ONCE = 32768


class Neighbours(NamedTuple):
    """The nearest points of each of N points, nearest first; the first is usually the point itself.

    Attributes:
        indices: `(N, K)` int64; N = no further neighbour.
        squared_distances: `(N, K)` float64, square metres; infinity = no further neighbour.
    """

    indices: Tensor
    squared_distances: Tensor

    def within(self, radius: float, max_nn: int) -> "Neighbours":
        """Select the neighbours that a search with a smaller radius (metres) and number would find."""
        indices, squared = (field[:, :max_nn] for field in self)
        near = squared < radius**2
        return Neighbours(torch.where(near, indices, len(indices)), torch.where(near, squared, torch.inf))


def find_neighbours(points: Tensor, radius: float, max_nn: int) -> Neighbours:
    """Find the nearest points within a radius, up to a maximum number (Open3D's `KDTreeSearchParamHybrid`).

    Args:
        points: `(N, 3)`, metres, all finite.
        radius: Largest distance of a neighbour in metres.
        max_nn: K, the largest number of neighbours, including the point itself.

    Returns:
        The neighbours of every point.

    Example:
        >>> line = torch.tensor([[0.0, 0, 1], [0.1, 0, 1], [0.3, 0, 1]])
        >>> find_neighbours(line, radius=0.25, max_nn=2).indices.tolist()
        [[0, 1], [1, 0], [2, 1]]
    """
    positions = points.double().cpu().numpy()
    # sliding midpoints instead of medians: on scanned surfaces faster to build and no slower to query
    tree = cKDTree(positions, leafsize=32, balanced_tree=False)
    distances, indices = tree.query(positions, max(2, max_nn), distance_upper_bound=radius)
    distances = torch.from_numpy(distances)[:, :max_nn]
    return Neighbours(torch.from_numpy(indices)[:, :max_nn], distances.square())


def estimate_normals(points: Tensor, neighbours: Neighbours) -> Tensor:
    """Estimate normals as BTF does with Open3D: the direction in which a point's neighbours vary least.

    `surface_normals` uses neighbours in the image; the published numbers use neighbours in space, which are known here
    already, while a window of pixels reaches across depth edges. The sign of Open3D's normals is arbitrary; these point
    towards the sensor. Otherwise 7 to 20 % of them would point away, which changes FPFH.

    Args:
        points: `(N, 3)`, metres, sensor frame (the sensor at the origin).
        neighbours: Neighbours of the points; BTF uses 30 within 0.1 m.

    Returns:
        `(N, 3)` float64, unit length, towards the sensor; exactly at the sensor where there are fewer than three
        neighbours.

    Example:
        >>> flat = torch.tensor([[0.0, 0, 1], [0.1, 0, 1], [0, 0.1, 1], [0.1, 0.1, 1]])
        >>> (0.0 + estimate_normals(flat, find_neighbours(flat, 1.0, 4))[0]).round(decimals=6).tolist()
        [0.0, 0.0, -1.0]
    """
    points = points.double()
    found = (neighbours.indices < len(points))[..., None]
    near = torch.where(found, points[neighbours.indices.clamp(max=len(points) - 1)], 0.0)
    count = found.sum(dim=1, keepdim=True)
    centred = torch.where(found, near - near.sum(dim=1, keepdim=True) / count, 0.0)
    normals = torch.linalg.eigh(centred.mT @ centred).eigenvectors[..., 0]
    normals = torch.where(count[:, 0] < 3, torch.nn.functional.normalize(-points), normals)
    return torch.where((normals * points).sum(dim=1, keepdim=True) > 0, -normals, normals)


def fpfh(points: Tensor, normals: Tensor, neighbours: Neighbours) -> Tensor:
    """Fast Point Feature Histograms of a cloud.

    Rusu, Blodow, Beetz, "Fast Point Feature Histograms (FPFH) for 3D registration", ICRA 2009, as implemented in Open3D
    0.19: neighbours are weighted by 1 / squared distance, each third of their sum is scaled to 100, and the point's own
    histogram, whose thirds also sum to 100, is added.

    Args:
        points: `(N, 3)`, metres.
        normals: `(N, 3)`, unit length.
        neighbours: Neighbours of the points; BTF uses 100 within 0.25 m. The first is skipped as the point itself.

    Returns:
        `(N, 33)` float64: 11 bins each for theta in [-pi, pi], alpha in [-1, 1] and phi in [-1, 1]; each third sums to
        200; zeros for a point without neighbours.
    """
    points, normals = points.double(), normals.double()
    indices, squared = (field[:, 1:] for field in neighbours)
    found = indices < len(points)
    indices = torch.where(found, indices, 0)
    weights = torch.where(found & (squared > 0), 1 / squared, 0.0)
    own = _simple_histograms(points, normals, indices, found)
    starts = np.arange(len(points) + 1) * indices.shape[1]
    graph = csr_array((weights.numpy().ravel(), indices.numpy().ravel(), starts), shape=(len(points), len(points)))
    thirds = rearrange(torch.from_numpy(graph @ own.numpy()), "n (three bins) -> n three bins", three=3)
    total = thirds.sum(dim=2, keepdim=True)
    thirds = torch.where(total > 0, thirds * (100 / total), 0.0)
    return rearrange(thirds, "n three bins -> n (three bins)") + own


def _simple_histograms(points: Tensor, normals: Tensor, indices: Tensor, found: Tensor) -> Tensor:
    """Histograms (N, 33) of the angles between each point and its neighbours (N, K); each third sums to 100."""
    counts = []
    rows = max(1, _PAIRS_AT_ONCE // max(1, indices.shape[1]))
    clouds = points.T.contiguous(), normals.T.contiguous()
    for start in range(0, len(points), rows):
        part = slice(start, start + rows)
        bins = _pair_bins(*clouds, part, indices[part])
        bins[:, ~found[part]] = FPFH_SIZE  # an extra bin for missing neighbours
        bins += (FPFH_SIZE + 1) * torch.arange(bins.shape[1])[:, None]
        counts.append(torch.bincount(bins.flatten(), minlength=bins.shape[1] * (FPFH_SIZE + 1)))
    histograms = rearrange(torch.cat(counts), "(n bins) -> n bins", bins=FPFH_SIZE + 1)[:, :FPFH_SIZE]
    return histograms * (100 / found.sum(dim=1, keepdim=True).clamp(min=1).double())


def _pair_bins(points: Tensor, normals: Tensor, part: slice, indices: Tensor) -> Tensor:
    """Bins (3, n, K) of theta, alpha and phi for pairs of n points, a slice of (3, N), with their (n, K) neighbours.

    The Darboux frame u, v, w is at the point whose normal is closer to the line between the two. All angles follow from
    five products of the line d and the normals: with length^2 = d.d - (d.u)^2,
    v.n = det(d, n1, n2) / length and w.n = (d.n - (d.u) (n1.n2)) / length.
    """
    flat = indices.flatten()  # `index_select` is six times as fast as indexing
    dx, dy, dz = (axis.index_select(0, flat).view_as(indices) - axis[part, None] for axis in points)
    one = [axis[part, None] for axis in normals]
    other = [axis.index_select(0, flat).view_as(indices) for axis in normals]
    squared = dx * dx + dy * dy + dz * dz
    along = dx * one[0] + dy * one[1] + dz * one[2]
    along_other = dx * other[0] + dy * other[1] + dz * other[2]
    between = one[0] * other[0] + one[1] * other[1] + one[2] * other[2]
    determinant = dx * (one[1] * other[2] - one[2] * other[1])
    determinant += dy * (one[2] * other[0] - one[0] * other[2])
    determinant += dz * (one[0] * other[1] - one[1] * other[0])

    swap = along.abs() < along_other.abs()
    source = torch.where(swap, -along_other, along)
    target = torch.where(swap, -along, along_other)
    length = (squared - source * source).clamp_(min=0).sqrt_()
    proper = length > 0  # else the points coincide or the normal is along the line, and the frame is undefined
    theta = torch.atan2((target - source * between), length * between)
    angles = torch.stack((theta.mul_(1 / math.pi), determinant.div_(length), source.div_(squared.sqrt_())))
    angles = torch.where(proper, angles, 0.0)
    bins = angles.add_(1).mul_(_BINS / 2).long().clamp_(0, _BINS - 1)
    return bins.add_(_BINS * torch.arange(3)[:, None, None])


def organised_fpfh(
    xyz: Tensor,
    foreground: Tensor,
    *,
    normal_radius: float = 0.1,
    normal_max_nn: int = 30,
    feature_radius: float = 0.25,
    feature_max_nn: int = 100,
) -> Tensor:
    """Compute FPFH of the foreground of organised clouds.

    Horwitz & Hoshen, "Back to the Feature" (BTF), with the numbers of its code, where the radii are 2 and 5 voxels of
    0.05 m. They are hardly ever the limit: the number of neighbours is, about 5 mm around a point at 224 pixels.

    Args:
        xyz: `(B, 3, H, W)`, metres, camera frame; finite in the foreground, any values outside.
        foreground: `(B, H, W)` bool.
        normal_radius: Search radius in metres for the neighbours of a normal.
        normal_max_nn: Largest number of these neighbours, including the point itself.
        feature_radius: Search radius in metres for the neighbours of a histogram.
        feature_max_nn: Largest number of these neighbours, including the point itself.

    Returns:
        `(B, 33, H, W)` float32 on the device of `xyz`, see `fpfh`; zeros outside the foreground.

    Raises:
        ValueError: If `xyz` is not `(B, 3, H, W)`.
    """
    check_shape("xyz", xyz, "(B, 3, H, W)")
    clouds, masks = xyz.detach().cpu().double(), foreground.cpu()
    features = torch.zeros(len(xyz), *xyz.shape[2:], FPFH_SIZE)
    for cloud, mask, feature in zip(clouds, masks, features, strict=True):
        points = cloud[:, mask].T
        if len(points):
            # one query for both: the tree takes as long as everything computed from its result
            near = find_neighbours(points, max(normal_radius, feature_radius), max(normal_max_nn, feature_max_nn))
            normals = estimate_normals(points, near.within(normal_radius, normal_max_nn))
            feature[mask] = fpfh(points, normals, near.within(feature_radius, feature_max_nn)).float()
    return rearrange(features, "b h w bins -> b bins h w").to(xyz.device)
