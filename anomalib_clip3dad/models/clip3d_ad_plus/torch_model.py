# SPDX-License-Identifier: Apache-2.0
"""Clip3dAdPlus as a module of tensors: cropped image and cloud in, evidence and scores out."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from anomalib.models.components import TimmFeatureExtractor
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from anomalib_clip3dad.clip import VisionTower
from anomalib_clip3dad.clip.similarity import anomalous_share, patch_shares
from anomalib_clip3dad.errors import InputError
from anomalib_clip3dad.geometry import Views
from anomalib_clip3dad.geometry.surface_histograms import surface_histograms
from anomalib_clip3dad.models.backbone import patch_features
from anomalib_clip3dad.models.clip3d_ad.features import FrozenFeatures, read_samples
from anomalib_clip3dad.models.part_cut import Cut

from .evidence import Evidence, EvidenceScale, Flawed, Judgement
from .memory import Patches, ShotMemory, left_out
from .missing import closed_part, shares

_PATCH = 8  # side of a patch in pixels
_LEAST_SHARE = 1e-5  # shares are clamped to this distance from 0 and 1
# Smallest spread assumed for the evidence of normal parts:
_LEAST_WORDS = 0.5  # logits
_LEAST_LENGTH = 0.02  # share of the length of a feature
_LEAST_MISSING = 0.15  # share of a patch


class Read(NamedTuple):
    """Output of the frozen networks for B samples.

    Attributes:
        words_map: (B, h, w), logits of the prompts for each patch.
        words: (B, 2) or (B, 1), logits of the prompts for the whole part, see `Evidence`.
        colour: (B, C, h, w), features of the image.
        geometry: (B, 33, h, w), histograms of the surface.
        missing: (B, h, w), share of each patch that should have been measured but was not.
        part: (B, h, w), share of each patch that shows the part.
    """

    words_map: Tensor
    words: Tensor
    colour: Tensor
    geometry: Tensor
    missing: Tensor
    part: Tensor


class FlawedShot(NamedTuple):
    """A shot with a synthetic anomaly.

    Attributes:
        shot: Number of the shot.
        kind: Number of the kind of anomaly.
        read: Output of the frozen networks for it.
        mask: (1, h, w), share of each patch that the anomaly covers.
    """

    shot: int
    kind: int
    read: Read
    mask: Tensor


class Clip3dAdPlusModel(nn.Module):
    """Prompts, a memory bank of colours and one of the surface, on top of frozen networks.

    Not in the papers; our choice.

    Args:
        tower: CLIP's frozen vision tower with one layer and, if there are views, `with_last`.
        backbone: Frozen network whose features of the image go to the memory bank of colours.
        num_views: Number of rendered views, 0 for none.
    """

    text: Tensor

    def __init__(self, tower: VisionTower, backbone: TimmFeatureExtractor, num_views: int) -> None:
        super().__init__()
        self.tower = nn.ModuleDict({"clip": tower, "backbone": backbone.requires_grad_(requires_grad=False)})
        self.num_views = num_views
        self.register_buffer("text", torch.zeros(2, tower.embed_dim))  # T+ and T-
        self.colour, self.geometry = ShotMemory(), ShotMemory()
        self.scale = EvidenceScale(1 + bool(num_views))

    @property
    def clip(self) -> Any:
        """CLIP's vision tower."""
        return self.tower["clip"]

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the input."""
        return (self.clip.image_size, self.clip.image_size)

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches of 8 pixels."""
        return (self.clip.image_size // _PATCH, self.clip.image_size // _PATCH)

    @torch.no_grad()
    def read(self, cut: Cut, views: Views | None) -> Read:
        """Run the frozen networks.

        Args:
            cut: Input of B samples, in the tower's image size.
            views: Rendered views of the samples; None without views.

        Returns:
            Output of the networks.
        """
        words, words_map = self.read_words(cut.image, views)
        part = closed_part(cut.foreground)
        backbone: Any = self.tower["backbone"]
        colour = patch_features(backbone, cut.image * part[:, None])
        return Read(
            words_map,
            words,
            functional.interpolate(colour, self.grid, mode="bilinear"),
            surface_histograms(cut.xyz, cut.foreground, self.grid),
            shares(part & ~cut.foreground, self.grid),
            shares(part, self.grid),
        )

    def read_words(self, image: Tensor, views: Views | None) -> tuple[Tensor, Tensor]:
        """Compare image and views with the prompts, like an untrained `Clip3dAd` with `fusion` "late".

        Args:
            image: (B, 3, S, S) RGB in [0, 1].
            views: Rendered views; None without views.

        Returns:
            Logits (B, 2) of the image and of the views' mean, (B, 1) without views; and logits of each patch, (B, h,
            w), the larger one of image and views.
        """
        clip = self.clip
        features: FrozenFeatures = read_samples(clip, image, views, align_views=True)
        cls = [anomalous_share(features.cls, self.text)]
        maps = [patch_shares(clip.final_norm(features.tokens[:, -1]) @ clip.projection, self.text)]
        if views is not None:
            cls.append(anomalous_share(features.view_cls, self.text).mean(dim=1))
            seen = features.seen[..., None]
            tokens = (features.view_tokens * seen).sum(dim=1) / seen.sum(dim=1).clamp(min=1)
            of_views = patch_shares(clip.final_norm(tokens) @ clip.projection, self.text, seen=features.seen.any(dim=1))
            maps.append(of_views)
        words_map = rearrange(torch.stack(maps).amax(dim=0), "b (h w) -> b 1 h w", h=clip.grid_size[0])
        words_map = functional.interpolate(words_map, self.grid, mode="bilinear", align_corners=False)[:, 0]
        return _logit(torch.stack(cls, dim=1)), _logit(words_map)

    def fit(
        self, shots: Sequence[Sequence[Read]], angles: Sequence[float], flawed: Sequence[FlawedShot]
    ) -> tuple[Tensor, Tensor]:
        """Fill both memories and learn the scales.

        Args:
            shots: For each shot what was read of it, turned by each of the angles.
            angles: Degrees, see `turn`; the first is 0.
            flawed: The shots with synthetic anomalies.

        Returns:
            Scores (N,) of all shots and all flawed ones, each compared with the other shots, and which are flawed (N,).
        """
        banks = {}
        for name, used in (("colour", angles), ("geometry", angles[:1])):  # rotation does not change the surface
            turned = [
                patches_of(getattr(read, name), read, shot, angle).rows(read.part.flatten() > 0)
                for shot, reads in enumerate(shots)
                for read, angle in zip(reads, used, strict=False)
            ]
            banks[name] = Patches.joined(turned)
            getattr(self, name).fit(banks[name])
        compared = [self._left_out(read, shot, banks) for shot, (read, *_) in enumerate(shots)]
        anomalies = Flawed(
            Evidence.joined([self._left_out(each.read, each.shot, banks) for each in flawed]),
            torch.tensor([each.shot for each in flawed], device=self.text.device),
            torch.tensor([each.kind for each in flawed], device=self.text.device),
            torch.cat([each.mask for each in flawed]),
        )
        words = torch.cat([read.words for reads in shots for read in reads[1:]] or [shots[0][0].words[:0]])
        rounding = [_LEAST_LENGTH * bank.features.norm(dim=1).mean().item() for bank in banks.values()]
        least = self.text.new_tensor([_LEAST_WORDS, *rounding, _LEAST_MISSING])
        normal = Evidence.joined(compared)
        self.scale.fit(normal, words, least, anomalies)
        scores = [self.scale(evidence).score for evidence in (normal, anomalies.evidence)]
        return torch.cat(scores), torch.cat([torch.full_like(each, i) for i, each in enumerate(scores)]).bool()

    def _left_out(self, read: Read, shot: int, banks: Mapping[str, Patches]) -> Evidence:
        """Evidence of one shot, with or without an anomaly, compared with the other shots."""
        shown = read.part.flatten() > 0

        def compared(name: str) -> list[Tensor]:
            asked = patches_of(getattr(read, name), read, shot, 0.0).rows(shown)
            return _spread(left_out(asked, banks[name]), shown)

        (colour, there), (geometry, _) = compared("colour"), compared("geometry")
        return self._evidence(read, colour, geometry, there)

    def compare(self, read: Read) -> Evidence:
        """Compare samples with the memory banks.

        Args:
            read: Output of `read` for B samples.

        Returns:
            Evidence of the samples.

        Raises:
            ValueError: If the memory banks are empty.
        """
        if not len(self.colour.bank):
            msg = "the memory bank is empty; train the model or load a checkpoint"
            raise InputError(msg)
        shown = read.part.flatten() > 0

        def compared(memory: ShotMemory, features: Tensor) -> Sequence[Tensor]:
            patches = rearrange(features, "b c h w -> (b h w) c")
            if torch.compiler.is_compiling():  # the number of rows in a graph cannot depend on their values
                return memory(patches)
            return _spread(memory(patches[shown]), shown)

        (colour, there), (geometry, _) = compared(self.colour, read.colour), compared(self.geometry, read.geometry)
        return self._evidence(read, colour, geometry, there)

    def _evidence(self, read: Read, colour: Tensor, geometry: Tensor, there: Tensor) -> Evidence:
        """Evidence of B samples from distances of their patches, (B h w,), and missing shares of the nearest ones."""
        shape = {"h": self.grid[0], "w": self.grid[1]}
        colour, geometry, there = (rearrange(each, "(b h w) -> b h w", **shape) for each in (colour, geometry, there))
        on_part = torch.stack([colour, geometry], dim=1) * (read.part > 0)[:, None]
        smooth = functional.avg_pool2d(on_part, 3, 1, 1, count_include_pad=False)
        missing = (read.missing - there).abs()
        maps = torch.stack([read.words_map, smooth[:, 0], smooth[:, 1], missing], dim=1)
        return Evidence(maps, read.words, read.part)

    def forward(self, cut: Cut, views: Views | None) -> Judgement:
        """Score samples; arguments as for `read`, result as from `EvidenceScale`, errors as from `compare`."""
        return self.scale(self.compare(self.read(cut, views)))


def patches_of(features: Tensor, read: Read, shot: int, degrees: float) -> Patches:
    """List the patches of one shot, which may be rotated.

    Args:
        features: (1, C, h, w), features of the shot.
        read: Output of `read` for the shot; only its missing shares are used.
        shot: Number of the shot.
        degrees: Angle of its rotation, see `turn`.

    Returns:
        The h w patches, row by row.
    """
    height, width = features.shape[-2:]
    row, column = torch.meshgrid(
        torch.arange(height, device=features.device) + 0.5 - height / 2,
        torch.arange(width, device=features.device) + 0.5 - width / 2,
        indexing="ij",
    )
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    place = torch.stack([cosine * column + sine * row, cosine * row - sine * column], dim=-1)
    return Patches(
        rearrange(features, "1 c h w -> (h w) c"),
        read.missing.flatten(),
        torch.full((height * width,), shot, device=features.device),
        rearrange(place, "h w xy -> (h w) xy"),
    )


def _spread(found: Sequence[Tensor], shown: Tensor) -> list[Tensor]:
    """Values (M,) of the M patches that show the part, and 0 for the others, (N,), of which nothing counts."""
    return [torch.zeros_like(shown, dtype=each.dtype).masked_scatter(shown, each) for each in found]


def _logit(share: Tensor) -> Tensor:
    """Log-odds of shares."""
    return share.clamp(_LEAST_SHARE, 1 - _LEAST_SHARE).logit()
