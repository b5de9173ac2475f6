# SPDX-License-Identifier: Apache-2.0
"""Multi-view fusion: what the rendered views add to the features of the image."""

import torch
from einops import rearrange, reduce, repeat
from torch import Tensor, nn
from torch.nn import functional

from .blocks import identity_blocks


class GlobalFusion(nn.Module):
    """Weigh the views' [CLS] vectors by channel attention and project them to one.

    CLIP3D-AD, section 3.3.4 and Figure 5; the attention is squeeze-and-excitation (the paper's [18]) with the views as
    channels. The paper does not give its start; ours: the mean of the views' vectors, which are CLIP embeddings.

    Args:
        num_views: Number v of views.
        embed_dim: C.
    """

    def __init__(self, num_views: int, embed_dim: int) -> None:
        super().__init__()
        # Neither bottleneck nor ReLU: the mean of an embedding is close to 0, so that a unit's bias would decide once
        # and for all whether it is on, and of so few units all may stay off.
        gates = nn.Linear(num_views, num_views)
        nn.init.zeros_(gates.weight)  # each view's weight is 1/2 at first
        nn.init.zeros_(gates.bias)
        self.excite = nn.Sequential(nn.Linear(num_views, num_views), nn.GELU(), gates, nn.Sigmoid())
        self.project = nn.Linear(num_views * embed_dim, embed_dim)
        self.project.weight.data = repeat(2 / num_views * torch.eye(embed_dim), "o c -> o (v c)", v=num_views).clone()
        nn.init.zeros_(self.project.bias)

    def forward(self, cls: Tensor) -> Tensor:
        """Fuse (B, v, C) to (B, C).

        Example:
            >>> GlobalFusion(2, 1)(torch.tensor([[[1.0], [5.0]]])).item()  # untrained: the mean
            3.0
        """
        weights = self.excite(reduce(cls, "b v c -> b v", "mean"))
        return self.project(rearrange(cls * weights[..., None], "b v c -> b (v c)"))


class LocalFusion(nn.Module):
    """Refine the views' patch tokens, average them over the views and project them to C.

    CLIP3D-AD, section 3.3.4 and Figure 5. The paper does not give its start; ours: the mean token through copies of
    CLIP's last norm and projection, as in the decoder. Tokens of patches that a view does not show take part in its
    attention as zeros (our choice) and not in the average.

    Args:
        final_norm: CLIP's `ln_post`, over D.
        projection: CLIP's `proj`, (D, C).
    """

    def __init__(self, final_norm: nn.LayerNorm, projection: Tensor) -> None:
        super().__init__()
        width, embed_dim = projection.shape
        self.blocks = identity_blocks(width, depth=2)
        self.norm = nn.LayerNorm(width, eps=final_norm.eps)
        self.norm.load_state_dict(final_norm.state_dict())
        self.project = nn.Linear(width, embed_dim)
        self.project.weight.data = projection.detach().T.clone()
        nn.init.zeros_(self.project.bias)

    def forward(self, tokens: Tensor, visible: Tensor) -> Tensor:
        """Fuse.

        Args:
            tokens: (B, v, N_p, D); token j of every view is about patch j of the image.
            visible: (B, v, N_p) bool, whether the view shows anything of that patch.

        Returns:
            (B, N_p, C); 0 where no view shows the patch (background, unmeasured).
        """
        refined = self.blocks(rearrange(tokens, "b v n d -> (b v) n d"))
        refined = rearrange(refined, "(b v) n d -> b v n d", b=tokens.shape[0])
        mean = _mean_over(refined, visible[..., None], dim=1)
        return self.project(self.norm(mean)) * visible.any(dim=1)[..., None]


def align_tokens(tokens: Tensor, positions: Tensor, visible: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Sample each view's patch tokens where the image's patches land in that view.

    CLIP3D-AD gives P_2D (Eq. 4) but not its use; here it makes token j of every view show the surface that patch j of
    the image shows.

    Args:
        tokens: (B, v, N_p, D), row by row.
        positions: (B, v, S, S, 2), P_2D in pixels of the view (column, row; pixel centres are integers) of every pixel
            of the image; views and image are S x S.
        visible: (B, v, S, S) bool; positions of pixels that are not visible do not count.
        grid: Rows and columns of patches.

    Returns:
        Tokens (B, v, N_p, D), 0 where nothing of a patch is visible, and (B, v, N_p) bool, where something is.
    """
    rows, columns = grid
    patches = {"h": rows, "w": columns}
    in_patches = "b v (h p) (w q) c -> b v (h w) (p q) c"
    seen = rearrange(visible[..., None], in_patches, **patches)
    centres = _mean_over(rearrange(positions, in_patches, **patches), seen, dim=3)
    seen = seen.any(dim=3)
    # grid_sample without aligned corners: -1 and 1 are the outer borders of the first and the last pixel
    sampled = functional.grid_sample(
        rearrange(tokens, "b v (h w) d -> (b v) d h w", **patches),
        rearrange(2 * (centres + 0.5) / positions.shape[3] - 1, "b v n c -> (b v) n 1 c").to(tokens.dtype),
        padding_mode="border",
        align_corners=False,
    )
    return rearrange(sampled, "(b v) d n 1 -> b v n d", b=tokens.shape[0]) * seen, seen[..., 0]


def _mean_over(values: Tensor, weights: Tensor, dim: int) -> Tensor:
    """Mean of `values` where `weights` (bool) hold; 0 where none does."""
    total = torch.where(weights, values, 0.0).sum(dim)
    return total / weights.sum(dim).clamp(min=1)
