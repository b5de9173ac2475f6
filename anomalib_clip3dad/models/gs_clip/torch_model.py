# SPDX-License-Identifier: Apache-2.0
"""GS-CLIP: what is trained, and how score and map come about."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from anomalib.models.components import GaussianBlur2d
from einops import rearrange
from torch import Tensor, nn

from anomalib_clip3dad.clip import VisionTower
from anomalib_clip3dad.clip.similarity import anomalous_share, enlarge
from anomalib_clip3dad.clip.streams import LowRank, Stream, normalised, read_stream
from anomalib_clip3dad.clip.text_tower import TextTower

from .observation import as_rgb
from .point_net import PointNet2
from .prompts import GeometryPrompts
from .refinement import SynergisticRefinement

_SIGMA = 4 / 336  # of the Gaussian, relative to the side of the map
_LOGITS = 0.07  # temperature of all softmaxes, not CLIP's own


class FrozenClip(nn.Module):
    """Both frozen towers, which stay out of checkpoints."""

    def __init__(self, vision: VisionTower, text: TextTower) -> None:
        super().__init__()
        self.vision = vision
        self.text = text


class Views(NamedTuple):
    """Embeddings of v views of B parts, see `Stream`.

    Attributes:
        cls: (B, v, C).
        patches: (B, v, N_p, C).
    """

    cls: Tensor
    patches: Tensor


class Judged(NamedTuple):
    """What both texts say of the views.

    Attributes:
        logits: (B, v, 2), similarity to the normal and the anomalous text over the temperature.
        shares: (B, v), the anomalous share of each view.
        maps: (B, v, S, S), the anomalous share of each pixel.
    """

    logits: Tensor
    shares: Tensor
    maps: Tensor


class GsClipModel(nn.Module):
    """GS-CLIP (arXiv 2602.19206) behind the rendering.

    Args:
        tower: The frozen vision tower.
        text: The frozen text tower.
        vv_from: First block of the V-V stream, see `read_stream`.
        shape_prompt: Whether the prompts have a token of the shape.
        defect_prompt: Whether the anomalous prompt has tokens of the defect.
        defect_tokens: Number of those.
        depth_stream: Whether there is stage 2: the depth stream with LoRA, and the refinement.
        point_net_weights: See `PointNet2`.
        words: See `GeometryPrompts`.
    """

    def __init__(
        self,
        tower: VisionTower,
        text: TextTower,
        vv_from: int | None = None,
        shape_prompt: bool = True,
        defect_prompt: bool = True,
        defect_tokens: int = 1,
        depth_stream: bool = True,
        point_net_weights: str | Path | None = None,
        words: Sequence[Tensor] = (),
    ) -> None:
        super().__init__()
        self.tower = FrozenClip(tower, text)
        self.vv_from = vv_from
        self.points = PointNet2(point_net_weights) if shape_prompt or defect_prompt else None
        self.prompts = GeometryPrompts(text, shape_prompt, defect_prompt, defect_tokens, words)
        self.low_rank = LowRank(tower) if depth_stream else None
        self.refinement = SynergisticRefinement(tower.embed_dim) if depth_stream else None
        side = tower.image_size
        self.blur = GaussianBlur2d(sigma=_SIGMA * side, channels=1)

    @property
    def vision(self) -> VisionTower:
        """The frozen vision tower."""
        return self.tower.vision

    # ------------------------------------------------------------------ what is read
    @torch.no_grad()
    def read(self, views: Tensor) -> Views:
        """Run views (B, v, C, S, S) of one or three channels through the frozen tower, without gradients."""
        return self._stream(views)

    def _stream(self, views: Tensor, low_rank: LowRank | None = None) -> Views:
        flat = as_rgb(views) if views.shape[2] == 1 else rearrange(views, "b v c r s -> (b v) c r s")
        stream = read_stream(self.vision, flat, self.vv_from, low_rank)
        count = views.shape[1]
        return Views(*(rearrange(field, "(b v) ... -> b v ...", v=count) for field in stream))

    def text(self, points: Tensor) -> Tensor:
        """Embed the prompts of B clouds.

        Args:
            points: (B, N, 3), result of `sample_points`; only B counts if the prompts do not depend on the cloud.

        Returns:
            (B, 2, C): normal, anomalous.
        """
        features = self.points(points) if self.points is not None else None
        prompts = self.prompts(features, self.tower.text, points.shape[0])
        embedded = self.tower.text(*prompts)
        return rearrange(embedded, "(b s) c -> b s c", s=2)

    def refine(self, render: Views, depth: Tensor) -> Views:
        """Stage 2: refine the views by the depth stream.

        Args:
            render: Result of `read` for the shaded views.
            depth: (B, v, 1 or 3, S, S), the same views painted with depth.

        Returns:
            The refined embeddings, of unit length.
        """
        assert self.refinement is not None  # noqa: S101
        count = depth.shape[1]
        felt = self._stream(depth, self.low_rank)
        flat = (Stream(*(rearrange(field, "b v ... -> (b v) ...") for field in each)) for each in (render, felt))
        refined = self.refinement(*flat)
        return Views(*(rearrange(field, "(b v) ... -> b v ...", v=count) for field in refined))

    # ------------------------------------------------------------------ what the texts say
    def compare(self, views: Views, text: Tensor) -> Judged:
        """Compare views with both texts (B, 2, C); the softmax comes before the patches are enlarged."""
        unit = normalised(Stream(*views))
        state = torch.nn.functional.normalize(text, dim=-1)
        logits = unit.cls @ state.mT / _LOGITS
        count, size = views.cls.shape[1], self.vision.image_size
        patches = rearrange(views.patches, "b v n c -> b (v n) c")
        shares = rearrange(anomalous_share(patches, text, _LOGITS), "b (v n) -> (b v) n", v=count)
        maps = rearrange(enlarge(shares, self.vision.grid_size, (size, size)), "(b v) r s -> b v r s", v=count)
        return Judged(logits, logits.softmax(dim=-1)[..., 1], maps)

    def smooth(self, anomaly_map: Tensor) -> Tensor:
        """Blur maps (B, S, S) of an organised grid by a Gaussian."""
        return self.blur(anomaly_map[:, None])[:, 0]
