# SPDX-License-Identifier: Apache-2.0
"""Fast Point Feature Histograms: how a surface bends around each of its points, in 33 numbers."""

import math
from typing import NamedTuple

import numpy as np
import torch
from einops import rearrange
from scipy.sparse import csr_array
from scipy.spatial import cKDTree
from torch import Tensor

from .organised import check_shape

_BINS = 11  # of each of the three angles
FPFH_SIZE = 3 * _BINS

# Pairs of points whose angles are computed at once: what a core's cache holds is three times as fast as all together.
_PAIRS_AT_ONCE = 32768


class Neighbours(NamedTuple):
    """The nearest points of each of N points, nearest first; the first is, as a rule, the point itself.

    Attributes:
        indices: `(N, K)` int64; N = there are no more.
        squared_distances: `(N, K)` float64, square metres; infinity = there are no more.
    """

    indices: Tensor
    squared_distances: Tensor

    def within(self, radius: float, max_nn: int) -> "Neighbours":
        """Those of them that a search with a smaller radius and a smaller number would have found."""
        indices, squared = (field[:, :max_nn] for field in self)
        near = squared < radius**2
        return Neighbours(torch.where(near, indices, len(indices)), torch.where(near, squared, torch.inf))


def find_neighbours(points: Tensor, radius: float, max_nn: int) -> Neighbours:
    """Find up to so many points nearer than a radius (Open3D's `KDTreeSearchParamHybrid`).

    Args:
        points: `(N, 3)`, metres, all finite.
        radius: metres; what lies farther is no neighbour.
        max_nn: K, the point itself included.

    Returns:
        Neighbours of every point.

    Example:
        >>> line = torch.tensor([[0.0, 0, 1], [0.1, 0, 1], [0.3, 0, 1]])
        >>> find_neighbours(line, radius=0.25, max_nn=2).indices.tolist()
        [[0, 1], [1, 0], [2, 1]]
    """
    positions = points.double().cpu().numpy()
    # sliding midpoints rather than medians: on a scanned surface quicker to build and no slower to ask
    tree = cKDTree(positions, leafsize=32, balanced_tree=False)
    distances, indices = tree.query(positions, max(2, max_nn), distance_upper_bound=radius)
    distances = torch.from_numpy(distances)[:, :max_nn]
    return Neighbours(torch.from_numpy(indices)[:, :max_nn], distances.square())


def estimate_normals(points: Tensor, neighbours: Neighbours) -> Tensor:
    """Normals as BTF takes them from Open3D: the direction in which a point's neighbours spread least.

    Not `surface_normals`, which asks the image: the published numbers are those of neighbours in space, which are known
    here already, and a window of pixels reaches across edges of depth. Unlike Open3D's, whose sign is left to chance,
    these look at the sensor: 7 to 20 % of them would look away, and FPFH tells the difference.

    Args:
        points: `(N, 3)`, metres, sensor frame (the sensor at the origin).
        neighbours: of the points; BTF takes 30 within 0.1 m.

    Returns:
        `(N, 3)` float64, of length 1, towards the sensor; towards it, too, where fewer than three points are near.

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

    Rusu, Blodow, Beetz, "Fast Point Feature Histograms (FPFH) for 3D registration", ICRA 2009, as Open3D 0.19 reads it:
    neighbours weigh 1 / squared distance, their sum is brought to 100 in each third, and the point's own histogram,
    whose thirds sum to 100, is added to it.

    Args:
        points: `(N, 3)`, metres.
        normals: `(N, 3)`, of length 1.
        neighbours: of the points; BTF takes 100 within 0.25 m. The first of each is passed over, as the point itself.

    Returns:
        `(N, 33)` float64: 11 bins each of theta in [-pi, pi], alpha in [-1, 1] and phi in [-1, 1], each third with sum
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
    """Histograms (N, 33) of the angles between each point and its neighbours (N, K); each third has sum 100."""
    counts = []
    rows = max(1, _PAIRS_AT_ONCE // max(1, indices.shape[1]))
    clouds = points.T.contiguous(), normals.T.contiguous()
    for start in range(0, len(points), rows):
        part = slice(start, start + rows)
        bins = _pair_bins(*clouds, part, indices[part])
        bins[:, ~found[part]] = FPFH_SIZE  # one more bin than there are, for the neighbours that are none
        bins += (FPFH_SIZE + 1) * torch.arange(bins.shape[1])[:, None]
        counts.append(torch.bincount(bins.flatten(), minlength=bins.shape[1] * (FPFH_SIZE + 1)))
    histograms = rearrange(torch.cat(counts), "(n bins) -> n bins", bins=FPFH_SIZE + 1)[:, :FPFH_SIZE]
    return histograms * (100 / found.sum(dim=1, keepdim=True).clamp(min=1).double())


def _pair_bins(points: Tensor, normals: Tensor, part: slice, indices: Tensor) -> Tensor:
    """Bins (3, n, K) of theta, alpha and phi of the pairs of n points, a part of (3, N), with (n, K) others.

    The Darboux frame u, v, w stands at that of the two points whose normal is nearer to the line between them. All
    angles follow from five products of the line d and the normals: with length^2 = d.d - (d.u)^2,
    v.n = det(d, n1, n2) / length and w.n = (d.n - (d.u) (n1.n2)) / length.
    """
    flat = indices.flatten()  # picked by `index_select`, six times as fast as indexing
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
    proper = length > 0  # else the points coincide or the line is the normal, and no frame can be drawn
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
    """FPFH of the foreground of organised clouds.

    Horwitz & Hoshen, "Back to the Feature" (BTF); the numbers are those of its code, where the radii are 2 and 5 voxels
    of 0.05 m. They hardly ever bind: what counts is the number of neighbours, 5 mm around a point at 224 pixels.

    Args:
        xyz: `(B, 3, H, W)`, metres, camera frame; finite in the foreground, anything else outside.
        foreground: `(B, H, W)` bool.
        normal_radius: metres; where the neighbours of a normal are looked for.
        normal_max_nn: their largest number, the point itself included.
        feature_radius: metres; the same for a histogram.
        feature_max_nn: the same for a histogram.

    Returns:
        `(B, 33, H, W)` float32 on the device of `xyz`, see `fpfh`; zeros outside the foreground.

    Raises:
        ValueError: `xyz` is not `(B, 3, H, W)`.
    """
    check_shape("xyz", xyz, "(B, 3, H, W)")
    clouds, masks = xyz.detach().cpu().double(), foreground.cpu()
    features = torch.zeros(len(xyz), *xyz.shape[2:], FPFH_SIZE)
    for cloud, mask, feature in zip(clouds, masks, features, strict=True):
        points = cloud[:, mask].T
        if len(points):
            # asked once for both: the tree takes as long as all that is computed with its answer
            near = find_neighbours(points, max(normal_radius, feature_radius), max(normal_max_nn, feature_max_nn))
            normals = estimate_normals(points, near.within(normal_radius, normal_max_nn))
            feature[mask] = fpfh(points, normals, near.within(feature_radius, feature_max_nn)).float()
    return rearrange(features, "b h w bins -> b bins h w").to(xyz.device)
