# SPDX-License-Identifier: Apache-2.0
"""Frozen Point-MAE features of organised clouds: anomalib's network, read without random choices, sample by sample."""

from pathlib import Path

import torch
from anomalib.models.image.cfm.components import PointTransformer  # in no __all__; read in anomalib 2.7.0
from einops import rearrange
from torch import Tensor, nn

from anomalib_clip3dad.errors import InputError, MissingFileError
from anomalib_clip3dad.geometry.sampling import distances, farthest_points, interpolate
from anomalib_clip3dad.weights import load_safely

from .pooling import pool_to_grid

_BLOCKS = (3, 7, 11)  # whose outputs are used, counted from 0: the 4th, 8th and 12th, as in M3DM


def check_pointmae(file: str | Path, network: nn.Module) -> None:
    """Raise if weights are missing, since anomalib loads whatever the file has, even nothing.

    Args:
        file: Point-MAE's pretrain.pth.
        network: anomalib's `PointTransformer`.

    Raises:
        ValueError: If the file cannot be read safely, or lacks weights of the network.
    """
    content = load_safely(file, "pointmae_weights")
    there = {name.rpartition("MAE_encoder.")[2] for name in content["base_model"]}
    if lacking := [name for name in network.state_dict() if name not in there]:
        msg = f"pointmae_weights={file}: {lacking[0]} is not in it; give Point-MAE's pretrain.pth"
        raise InputError(msg)


class PointMae(nn.Module):
    """Frozen Point-MAE (Pang et al., arXiv 2203.06604), whose features M3DM and LSFA take from three of its blocks.

    Args:
        weights: Path of Point-MAE's pretrain.pth.
        group_size: Number of points in a group; all of them if the cloud has fewer.
        num_group: Number of groups; one for each point if the cloud has fewer.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: See `check_pointmae`.
    """

    def __init__(self, weights: str | Path, group_size: int = 128, num_group: int = 1024) -> None:
        super().__init__()
        if not Path(weights).is_file():
            msg = f"pointmae_weights={weights}: no such file; correct the path"
            raise MissingFileError(msg)
        self.group_size, self.num_group = group_size, num_group
        self.network = PointTransformer(group_size, num_group)
        check_pointmae(weights, self.network)
        self.network.load_model_from_ckpt(str(weights))
        self.width = len(_BLOCKS) * self.network.trans_dim
        self.requires_grad_(requires_grad=False).train(mode=False)

    def train(self, mode: bool = True) -> "PointMae":  # noqa: ARG002
        """Stay in evaluation mode: dropped paths and batch statistics are for training."""
        return super().train(mode=False)

    @torch.no_grad()
    def forward(self, xyz: Tensor, foreground: Tensor, grid: tuple[int, int]) -> Tensor:
        """Compute features of patches, each sample from its own foreground.

        Args:
            xyz: `(B, 3, H, W)`, metres, camera frame; finite in the foreground, any values outside.
            foreground: `(B, H, W)` bool.
            grid: Rows and columns of patches.

        Returns:
            `(B, 1152, *grid)`; zeros where a patch and the pixels around it have no points.
        """
        maps = xyz.new_zeros(len(xyz), self.width, *grid)
        for row, (cloud, mask) in enumerate(zip(xyz, foreground, strict=True)):
            points = rearrange(cloud[:, mask], "c n -> n c")
            if len(points):
                pixels = xyz.new_zeros(self.width, *mask.shape)
                pixels[:, mask] = rearrange(self._features(points), "n c -> c n")
                maps[row] = pool_to_grid(pixels[None], grid)[0]
        return maps

    def _features(self, points: Tensor) -> Tensor:
        """Features (N, 1152) of points (N, 3)."""
        network = self.network
        centres = points[farthest_points(points, min(self.num_group, len(points)))]
        nearest = distances(centres, points).topk(min(self.group_size, len(points)), largest=False).indices
        tokens = network.encoder((points[nearest] - centres[:, None])[None])
        outputs = network.blocks(tokens, network.pos_embed(centres[None]))
        features = torch.cat([network.norm(outputs[block])[0] for block in _BLOCKS], dim=1)
        return interpolate(features, centres, points)
