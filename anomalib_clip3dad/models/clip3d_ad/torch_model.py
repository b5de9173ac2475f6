# SPDX-License-Identifier: Apache-2.0
"""CLIP3D-AD as a module of tensors: image and views in, map and score out."""

from typing import NamedTuple

import torch
from anomalib.data import InferenceBatch
from einops import rearrange
from torch import nn

from anomalib_clip3dad.clip import VisionTower
from anomalib_clip3dad.errors import InputError
from anomalib_clip3dad.geometry import Views

from .adapters import Adapter
from .decoder import CoarseToFineDecoder
from .fusion import GlobalFusion, LocalFusion, align_tokens
from .scoring import anomaly_score, similarity_map


class Adapted(NamedTuple):
    """What training compares."""

    image: torch.Tensor  # I, (B, C)
    text: torch.Tensor  # T_c, (2, C): flawless, faulty
    anomaly_map: torch.Tensor  # S_map, (B, S, S)


class Clip3dAdModel(nn.Module):
    """CLIP3D-AD (arXiv 2406.18941, Figure 2) around a frozen vision tower.

    Args:
        tower: the frozen tower, made with `layers` = L and, when there are views, `with_last`.
        num_views: v, 0 for none (Table 5).
        align_views: sample the views' tokens at P_2D; otherwise token j is the same place of each view's own picture.
        adapter_ratio: share of the adapters' correction.
        decoder_depth: transformer blocks of the decoder.
    """

    text: torch.Tensor

    def __init__(
        self,
        tower: VisionTower,
        num_views: int = 5,
        align_views: bool = True,
        adapter_ratio: float = 0.2,
        decoder_depth: int = 2,
    ) -> None:
        super().__init__()
        self.tower = tower
        self.num_views = num_views
        self.align_views = align_views
        num_layers = len(tower.layers) - bool(num_views)
        self.image_adapter = Adapter(tower.embed_dim, adapter_ratio)
        self.classification_text_adapter = Adapter(tower.embed_dim, adapter_ratio)
        self.segmentation_text_adapter = Adapter(tower.embed_dim, adapter_ratio)
        self.decoder = CoarseToFineDecoder(tower.visual.ln_post, tower.visual.proj, num_layers, decoder_depth)
        if num_views:
            self.global_fusion = GlobalFusion(num_views, tower.embed_dim)
            self.local_fusion = LocalFusion(tower.width, tower.embed_dim)
        # T+ and T-. A buffer, so that checkpoints and exported graphs hold them and need no text tower.
        self.register_buffer("text", torch.zeros(2, tower.embed_dim))

    def forward(self, image: torch.Tensor, views: Views | None = None) -> Adapted | InferenceBatch:
        """Score images, or in training mode return what the losses need.

        Args:
            image: (B, 3, S, S) RGB in [0, 1], S = the tower's image size.
            views: their rendered views (B, v, 3, S, S) with P_2D and visibility; None without views.

        Returns:
            In evaluation: `pred_score` (B,) in [0, 2] and `anomaly_map` (B, S, S) in [0, 1], larger = more anomalous.

        Raises:
            ValueError: If the number of views is not the one the model was made for.
        """
        embedding, features = self._encode(image, views)
        anomaly_map = similarity_map(
            features, self.segmentation_text_adapter(self.text), self.tower.grid_size, image.shape[-2:]
        )
        text = self.classification_text_adapter(self.text)
        if self.training:
            return Adapted(embedding, text, anomaly_map)
        return InferenceBatch(pred_score=anomaly_score(embedding, text, anomaly_map), anomaly_map=anomaly_map)

    def _encode(self, image: torch.Tensor, views: Views | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Adapted [CLS] I, (B, C), and decoded patches F, (B, N_p, C) (Eq. 6 and 8, each plus what the views add)."""
        given = 0 if views is None else views.images.shape[1]
        if given != self.num_views:
            msg = f"views: the model was made for {self.num_views} views of each sample, got {given}; render the same "
            msg += "ones (the model's `views` and those of MultiViewRendering must agree)"
            raise InputError(msg)
        if views is None:
            cls, tokens = self.tower(image)
            return self.image_adapter(cls), self.decoder(tokens)

        batch = len(image)
        # one pass for all: the images first, then every view of every sample
        cls, tokens = self.tower(torch.cat([image, rearrange(views.images, "b v c h w -> (b v) c h w")]))
        embedding = self.image_adapter(cls[:batch])
        features = self.decoder([layer[:batch] for layer in tokens[:-1]])
        view_cls = rearrange(cls[batch:], "(b v) c -> b v c", b=batch)
        view_tokens = rearrange(tokens[-1][batch:], "(b v) n d -> b v n d", b=batch)
        if self.align_views:
            view_tokens, seen = align_tokens(view_tokens, views.positions, views.visible, self.tower.grid_size)
        else:
            seen = torch.ones(view_tokens.shape[:-1], dtype=torch.bool, device=image.device)
        return embedding + self.global_fusion(view_cls), features + self.local_fusion(view_tokens, seen)
