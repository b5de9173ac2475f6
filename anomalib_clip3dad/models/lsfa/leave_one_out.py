# SPDX-License-Identifier: Apache-2.0
"""How far the patches of normal parts are from those of other normal parts: the scale of a modality's distances."""

import torch
from anomalib.models.image.patchcore.torch_model import PatchcoreModel
from einops import rearrange
from torch import Tensor

_AT_MOST = 16  # shots that are left out: more change the statistics little and take time with the square
_NEAR = 3.5  # in patches: patches of a single shot that are closer than this overlap, and are not compared
_LEAST_DEVIATION = 1e-6  # of features whose variance is 1


def left_out_distances(features: Tensor, part: Tensor) -> Tensor:
    """Distances of the shots' patches to the nearest patch of another shot.

    The banks of M3DM and LSFA hold the very samples that their fusion is fitted on, whose distances are then near 0;
    leaving each shot out is our choice. A single shot is compared with itself, farther away than `_NEAR`.

    Args:
        features: (k, C, h, w), adapted features of the shots.
        part: (k, h, w) bool, patches that show the part; only theirs are counted.

    Returns:
        (N,), one for each patch that can be compared; which these are, and their order, depends on `part` alone.
    """
    shots = len(features)
    patches = rearrange(features, "k c h w -> k (h w) c")
    inside = part.flatten(1)
    if shots == 1:
        apart = torch.cdist(*(part[0].nonzero().float(),) * 2) >= _NEAR
        own = patches[0, inside[0]]
        return torch.cdist(own, own).masked_fill(~apart, torch.inf).amin(dim=1)[apart.any(dim=1)]
    chosen = torch.linspace(0, shots - 1, min(shots, _AT_MOST)).round().long().tolist()
    return torch.cat([_to_others(patches, inside, shot) for shot in chosen])


def scale_of(distances: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of distances (N,), scalars; 0 and 1 if there are fewer than two."""
    if len(distances) < 2:
        return distances.new_zeros(()), distances.new_ones(())
    return distances.mean(), distances.std().clamp(min=_LEAST_DEVIATION)


def _to_others(patches: Tensor, inside: Tensor, shot: int) -> Tensor:
    """Distances (N,) of one shot's N patches on the part to the nearest patch of the other shots.

    Other shots are passed one by one: all distances at once would be more numbers than all features.
    """
    own = patches[shot, inside[shot]]
    others = (each for number, each in enumerate(patches) if number != shot)
    return torch.stack([PatchcoreModel.euclidean_dist(own, each).amin(dim=1) for each in others]).amin(dim=0)
