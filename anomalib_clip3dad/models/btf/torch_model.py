# SPDX-License-Identifier: Apache-2.0
"""Back to the Feature as a module of tensors: image, cloud and foreground in, score and anomaly map out."""

from typing import Any

import torch
from anomalib.data import InferenceBatch
from anomalib.models.components import TimmFeatureExtractor
from torch import Tensor, nn

from anomalib_clip3dad.geometry.fpfh import organised_fpfh
from anomalib_clip3dad.models.backbone import patch_features
from anomalib_clip3dad.models.patch_memory import PatchMemory
from anomalib_clip3dad.models.pooling import pool_to_grid

_PATCH = 8  # side of a patch in pixels: 28 x 28 patches at 224 x 224, as in the finest stage of the backbone


class BtfModel(nn.Module):
    """BTF (Horwitz & Hoshen, "Back to the Feature", arXiv 2203.05550) on anomalib's PatchCore.

    Args:
        extractor: Frozen network that computes the features of the images; None to use no images.
        with_fpfh: Whether FPFH of the cloud are used.
        num_neighbors: See `PatchMemory`.
    """

    def __init__(self, extractor: TimmFeatureExtractor | None, with_fpfh: bool = True, num_neighbors: int = 3) -> None:
        super().__init__()
        self.tower: Any = extractor or nn.Identity()
        self.with_rgb, self.with_fpfh = extractor is not None, with_fpfh
        self.memory = PatchMemory(num_neighbors)

    def embed(self, image: Tensor, xyz: Tensor, foreground: Tensor) -> Tensor:
        """Compute features of patches: RGB, then FPFH, unscaled as in BTF, so that FPFH outweigh RGB.

        Args:
            image: `(B, 3, S, S)` RGB in [0, 1].
            xyz: `(B, 3, S, S)`, metres, camera frame, finite in the foreground.
            foreground: `(B, S, S)` bool.

        Returns:
            `(B, C, h, w)`; FPFH of patches without points are zeros.
        """
        maps = [patch_features(self.tower, image * foreground[:, None])] if self.with_rgb else []
        rows, columns = maps[0].shape[-2:] if maps else (-(-side // _PATCH) for side in image.shape[-2:])
        grid = rows, columns
        if self.with_fpfh:
            maps.append(pool_to_grid(organised_fpfh(xyz, foreground), grid))
        return torch.cat(maps, dim=1)

    def forward(self, image: Tensor, xyz: Tensor, foreground: Tensor) -> InferenceBatch:
        """Score a batch; arguments as for `embed`, result and errors as from `PatchMemory`."""
        height, width = image.shape[-2:]
        return self.memory(self.embed(image, xyz, foreground), (height, width))
