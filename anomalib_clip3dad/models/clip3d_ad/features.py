# SPDX-License-Identifier: Apache-2.0
"""Features of the frozen tower."""

from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor

from anomalib_clip3dad.clip import VisionTower
from anomalib_clip3dad.geometry import Views

from .fusion import align_tokens


class FrozenFeatures(NamedTuple):
    """Everything that the trained parts need of B samples, without gradients.

    Attributes:
        cls: (B, C), CLIP's [CLS] embeddings of the images.
        tokens: (B, |L|, N_p, D), patch tokens of the images, for each block of L.
        view_cls: (B, v, C), CLIP's [CLS] embeddings of the views.
        view_tokens: (B, v, N_p, D), patch tokens of the views, of the last block.
        seen: (B, v, N_p) bool, whether the view shows anything of the patch that its token belongs to.
    """

    cls: Tensor
    tokens: Tensor
    view_cls: Tensor
    view_tokens: Tensor
    seen: Tensor


@torch.no_grad()
def read_samples(tower: VisionTower, image: Tensor, views: Views | None, align_views: bool) -> FrozenFeatures:
    """Run the frozen tower on images and views.

    CLIP3D-AD, sections 3.3.3 and 3.3.4: I, F_l and the input of the fusions.

    Args:
        tower: Frozen vision tower with `layers` = L and, if there are views, `with_last`.
        image: (B, 3, S, S) RGB in [0, 1].
        views: (B, v, 3, S, S) with P_2D and visibility; None without views.
        align_views: Sample the tokens of the views at P_2D, so that token j belongs to the image's patch j.

    Returns:
        The features; v = 0 without views.
    """
    batch = image.shape[0]  # not len(), which an exported graph takes for a constant
    if views is None:
        cls, tokens = tower(image)
        none = tokens[-1][:, None][:, :0]
        return FrozenFeatures(cls, torch.stack(tokens, dim=1), cls[:, None][:, :0], none, none[..., 0].bool())
    # one pass for all: first the images, then all views, of which only the last tokens are needed
    pictures = torch.cat([image, rearrange(views.images, "b v c h w -> (b v) c h w")])
    cls, tokens = tower(pictures, num_deep=batch)
    view_tokens = rearrange(tokens[-1][batch:], "(b v) n d -> b v n d", b=batch)
    if align_views:
        view_tokens, seen = align_tokens(view_tokens, views.positions, views.visible, tower.grid_size)
    else:
        seen = torch.ones(view_tokens.shape[:-1], dtype=torch.bool, device=image.device)
    view_cls = rearrange(cls[batch:], "(b v) c -> b v c", b=batch)
    return FrozenFeatures(cls[:batch], torch.stack(tokens[:-1], dim=1), view_cls, view_tokens, seen)
