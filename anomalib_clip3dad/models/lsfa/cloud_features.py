# SPDX-License-Identifier: Apache-2.0
"""Frozen features of the cloud that LSFA can adapt; each module has a `width` and gives (B, width, *grid)."""

from pathlib import Path

from torch import Tensor, nn
from torch.nn import functional

from anomalib_clip3dad.errors import InputError
from anomalib_clip3dad.geometry.fpfh import FPFH_SIZE, organised_fpfh
from anomalib_clip3dad.geometry.surface_histograms import surface_histograms
from anomalib_clip3dad.models.point_mae import PointMae
from anomalib_clip3dad.models.pooling import pool_to_grid

CLOUD_FEATURES = ("histograms", "fpfh", "pointmae")


class SurfaceHistograms(nn.Module):
    """`surface_histograms`, which need no weights and can be exported, times the measured share of each patch.

    A histogram from a single pair of points is as long as any other, but noise. Averages over pixels, as of the other
    features, fade out at the border of the part, since pixels without a point count as zeros; so do these.
    """

    width = FPFH_SIZE

    def forward(self, xyz: Tensor, foreground: Tensor, grid: tuple[int, int]) -> Tensor:
        """Compute features of patches; arguments as of `surface_histograms`, result (B, 33, *grid)."""
        kernel = foreground.shape[-2] // grid[0], foreground.shape[-1] // grid[1]
        share = functional.avg_pool2d(foreground[:, None].to(xyz.dtype), kernel)
        return surface_histograms(xyz, foreground, grid) * share


class Fpfh(nn.Module):
    """See `organised_fpfh`; these need no weights."""

    width = FPFH_SIZE

    def forward(self, xyz: Tensor, foreground: Tensor, grid: tuple[int, int]) -> Tensor:
        """Compute features of patches; arguments as of `surface_histograms`, result (B, 33, *grid)."""
        return pool_to_grid(organised_fpfh(xyz, foreground), grid)


def load_cloud_features(name: str, pointmae_weights: str | Path | None) -> nn.Module:
    """Build the frozen features of the cloud.

    Args:
        name: One of `CLOUD_FEATURES`.
        pointmae_weights: Path of Point-MAE's weights, for "pointmae".

    Returns:
        The module.

    Raises:
        ValueError: If the name is unknown or its weights are missing; see also `PointMae`.
    """
    if name not in CLOUD_FEATURES:
        msg = f"cloud_features={name!r}: give one of {', '.join(CLOUD_FEATURES)}"
        raise InputError(msg)
    if name == "pointmae":
        if pointmae_weights is None:
            msg = "cloud_features='pointmae': give pointmae_weights=PATH of pretrain.pth (a release of "
            msg += "github.com/Pang-Yatian/Point-MAE), or cloud_features='histograms', which need no weights"
            raise InputError(msg)
        return PointMae(pointmae_weights)
    return SurfaceHistograms() if name == "histograms" else Fpfh()
