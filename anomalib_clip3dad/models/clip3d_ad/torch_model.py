# SPDX-License-Identifier: Apache-2.0
"""CLIP3D-AD as a module of tensors: image and views in, map and score out."""

from typing import NamedTuple

import torch
from anomalib.data import InferenceBatch
from torch import Tensor, nn

from anomalib_clip3dad.clip import VisionTower
from anomalib_clip3dad.clip.similarity import anomalous_share, enlarge, patch_shares
from anomalib_clip3dad.errors import InputError
from anomalib_clip3dad.geometry import Views

from .adapters import Adapter
from .decoder import CoarseToFineDecoder
from .features import FrozenFeatures, read_samples
from .fusion import GlobalFusion, LocalFusion
from .scoring import Scoring, anomaly_score, late_score, part_patches, reduce_on_part

FUSIONS = ("sum", "late")
"""How image and views are joined: their embeddings are added (the paper), or both are scored separately."""


class Adapted(NamedTuple):
    """Embeddings and maps that the losses compare."""

    images: list[Tensor]  # I, (B, C): the sum of image and views, or those of image and views separately
    text: Tensor  # T_c, (2, C): normal, anomalous
    anomaly_map: Tensor  # S_map, (B, S, S)


class Clip3dAdModel(nn.Module):
    """CLIP3D-AD (arXiv 2406.18941, Figure 2) around a frozen vision tower.

    Args:
        tower: Frozen vision tower with `layers` = L and, if there are views, `with_last`.
        num_views: Number v of views; 0 for none (Table 5).
        align_views: Sample the tokens of the views at P_2D; otherwise token j is the same place of every view's image.
        fusion: One of `FUSIONS`.
        adapter_ratio: Weight of the adapters' output.
        decoder_depth: Number of transformer blocks of the decoder.
        scoring: How similarities become map and score.
    """

    text: Tensor

    def __init__(
        self,
        tower: VisionTower,
        num_views: int = 5,
        align_views: bool = True,
        fusion: str = "sum",
        adapter_ratio: float = 0.2,
        decoder_depth: int = 2,
        scoring: Scoring = Scoring(),  # noqa: B008  # a tuple, which nobody can change
    ) -> None:
        super().__init__()
        self.tower = tower
        self.num_views = num_views
        self.align_views = align_views
        self.fusion = fusion
        self.scoring = scoring
        num_layers = len(tower.layers) - bool(num_views)
        self.image_adapter = Adapter(tower.embed_dim, adapter_ratio)
        self.classification_text_adapter = Adapter(tower.embed_dim, adapter_ratio)
        self.segmentation_text_adapter = Adapter(tower.embed_dim, adapter_ratio)
        self.decoder = CoarseToFineDecoder(tower.final_norm, tower.projection, num_layers, decoder_depth)
        if num_views:
            self.global_fusion = GlobalFusion(num_views, tower.embed_dim)
            self.local_fusion = LocalFusion(tower.final_norm, tower.projection)
        # T+ and T-. A buffer, so that checkpoints and exported graphs hold them and need no text tower.
        self.register_buffer("text", torch.zeros(2, tower.embed_dim))

    @property
    def map_size(self) -> tuple[int, int]:
        """Rows and columns of images and maps."""
        return (self.tower.image_size, self.tower.image_size)

    def forward(self, image: Tensor, views: Views | None = None) -> Adapted | InferenceBatch:
        """Score images; in training mode, return what the losses need.

        Args:
            image: (B, 3, S, S) RGB in [0, 1], S = image size of the tower.
            views: Rendered views (B, v, 3, S, S) with P_2D and visibility; None without views.

        Returns:
            In evaluation mode: `pred_score` (B,) and `anomaly_map` (B, S, S), both in [0, 1], larger = more anomalous.

        Raises:
            ValueError: If the number of views is not `num_views`.
        """
        return self.compare(self.read(image, views))

    def read(self, image: Tensor, views: Views | None = None) -> FrozenFeatures:
        """Run only the frozen part; arguments and errors are those of `forward`."""
        given = 0 if views is None else views.images.shape[1]
        if given != self.num_views:
            msg = f"views: the model was made for {self.num_views} views of each sample, got {given}; render the same "
            msg += "ones"
            raise InputError(msg)
        return read_samples(self.tower, image, views, self.align_views)

    def compare(self, features: FrozenFeatures, foreground: Tensor | None = None) -> Adapted | InferenceBatch:
        """Run only the trained part: adapted [CLS] I and decoded patches F, each plus those of the views (Eq. 5-10).

        With `fusion` "late", not in the paper, the views are compared with the texts separately, where they show the
        part. At each place the larger of the two maps counts; `late_score` joins both [CLS] and both maps.

        Args:
            features: Result of `read`.
            foreground: (B, S, S) bool, true = part, for the scores; None: everywhere.

        Returns:
            As for `forward`.
        """
        embeddings = [self.image_adapter(features.cls)]
        patches: list[tuple[Tensor, Tensor | None]] = [(self.decoder(features.tokens.unbind(dim=1)), None)]
        if self.num_views:
            of_views = self.global_fusion(features.view_cls)
            local = self.local_fusion(features.view_tokens, features.seen)
            if self.fusion == "late":
                embeddings.append(of_views)
                patches.append((local, features.seen.any(dim=1)))
            else:
                embeddings, patches = [embeddings[0] + of_views], [(patches[0][0] + local, None)]
        text, grid = self.segmentation_text_adapter(self.text), self.tower.grid_size
        shares = [patch_shares(each, text, self.scoring.map_temperature, seen) for each, seen in patches]
        maps = [enlarge(share, grid, self.map_size) for share in shares]
        anomaly_map = torch.stack(maps).amax(dim=0)
        text = self.classification_text_adapter(self.text)
        if self.training:
            return Adapted(embeddings, text, anomaly_map)
        of_images = [anomalous_share(embedding, text, self.scoring.score_temperature) for embedding in embeddings]
        if self.scoring.reduction == "max":
            of_maps = [each.amax(dim=(-2, -1)) for each in maps]
        else:
            part = part_patches(foreground, grid) if foreground is not None else torch.ones_like(shares[0]).bool()
            of_maps = [reduce_on_part(share, part, self.scoring.reduction) for share in shares]
        join = late_score if self.fusion == "late" else anomaly_score
        return InferenceBatch(pred_score=join(of_images, of_maps), anomaly_map=anomaly_map)
