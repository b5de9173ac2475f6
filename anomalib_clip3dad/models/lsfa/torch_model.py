# SPDX-License-Identifier: Apache-2.0
"""LSFA as a module of tensors: image, cloud and foreground in, score and anomaly map out."""

from math import gcd
from typing import Any, NamedTuple

import torch
from anomalib.data import InferenceBatch
from anomalib.models.components import TimmFeatureExtractor
from einops import rearrange
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn import functional

from anomalib_clip3dad.models.backbone import patch_features
from anomalib_clip3dad.models.patch_memory import PatchMemory
from anomalib_clip3dad.seeding import drawing_from

from .fusion import svm_weights
from .leave_one_out import left_out_distances, scale_of

_HEADS = 12  # of the adaptors' attention, or their largest common divisor with the width


class Features(NamedTuple):
    """Features of B samples on one grid of patches, frozen or adapted.

    Attributes:
        rgb: (B, C, h, w), features of the image.
        cloud: (B, D, h, w), features of the cloud.
        part: (B, h, w) bool, patches with a measured point of the part.
    """

    rgb: Tensor
    cloud: Tensor
    part: Tensor


MODALITIES = ("rgb", "cloud")


def gathered(shots: list[Features]) -> Features:
    """Join the features of shots, and empty the list on the way, since full data sets take gigabytes.

    Args:
        shots: Features of B samples each; empty afterwards.

    Returns:
        Features of all k samples, (k, C, h, w) views of (k, h, w, C): patches as memory banks have them.
    """
    last, count = shots[-1], sum(len(each.part) for each in shots)
    rgb, cloud = (maps.new_empty(count, *maps.shape[2:], maps.shape[1]) for maps in (last.rgb, last.cloud))
    part = last.part.new_empty(count, *last.part.shape[1:])
    joined = Features(rearrange(rgb, "k h w c -> k c h w"), rearrange(cloud, "k h w c -> k c h w"), part)
    while shots:
        each = shots.pop()
        count -= len(each.part)
        for field, whole in zip(each, joined, strict=True):
            whole[count : count + len(field)] = field
    return joined


class LsfaModel(nn.Module):
    """Frozen features of image and cloud, an adaptor for each, and a memory bank of each one's adapted features.

    Tu et al., "Self-supervised Feature Adaptation for 3D Industrial Anomaly Detection", arXiv 2401.03145. Banks and
    their scores are PatchCore's, as in the paper. Distances are scaled with each modality's own statistics, and score
    and map are the mean of both, weighted alike or by a linear one-class SVM.

    Args:
        extractor: Frozen network of the images.
        cloud: Frozen features of the cloud, see `load_cloud_features`.
        patch_size: Side of a patch in pixels.
        adapts: Whether there are adaptors; otherwise the frozen features are compared.
        num_neighbors: See `PatchMemory`.
        fusion: One of `FUSIONS`: "mean" of both modalities, or mean weighted by `svm_weights`.
    """

    unit: Tensor
    mean: Tensor
    deviation: Tensor
    weight: Tensor

    def __init__(
        self,
        extractor: TimmFeatureExtractor,
        cloud: Any,
        patch_size: int,
        adapts: bool = True,
        num_neighbors: int = 3,
        fusion: str = "mean",
    ) -> None:
        super().__init__()
        self.tower: Any = nn.ModuleDict({"rgb": extractor, "cloud": cloud}).requires_grad_(requires_grad=False)
        self.widths = {"rgb": sum(extractor.out_dims), "cloud": int(cloud.width)}
        self.patch_size, self.adapts, self.fusion = patch_size, adapts, fusion
        self.adaptors = nn.ModuleDict()
        self.start_adaptors(0)
        self.memories = nn.ModuleDict({name: PatchMemory(num_neighbors) for name in MODALITIES})
        for name, start in (("unit", 1.0), ("mean", 0.0), ("deviation", 1.0), ("weight", 0.5)):  # of `MODALITIES`
            self.register_buffer(name, torch.full((len(MODALITIES),), start))

    def start_adaptors(self, seed: int) -> None:
        """Make new adaptors, one pre-norm transformer block for each modality, that change nothing yet.

        The last layer of each branch starts at zero, so that the adaptation begins with the frozen features. The paper
        does not say how it starts; the authors' code starts at random.

        Args:
            seed: Seed of the other weights.
        """
        if not self.adapts:
            return
        with drawing_from(seed):
            for name, width in self.widths.items():
                block: Any = Block(width, num_heads=gcd(width, _HEADS), mlp_ratio=4)
                for last in (block.attn.proj, block.mlp.fc2):
                    nn.init.zeros_(last.weight)
                    nn.init.zeros_(last.bias)
                self.adaptors[name] = block

    @torch.no_grad()
    def read(self, image: Tensor, xyz: Tensor, foreground: Tensor) -> Features:
        """Run the frozen networks.

        Args:
            image: (B, 3, H, W) RGB in [0, 1]; H and W are multiples of the patch size.
            xyz: (B, 3, H, W), metres, camera frame, finite in the foreground.
            foreground: (B, H, W) bool.

        Returns:
            Frozen features; the background of the image is black, as in M3DM.
        """
        grid = image.shape[-2] // self.patch_size, image.shape[-1] // self.patch_size
        colours = patch_features(self.tower["rgb"], image * foreground[:, None])
        return Features(
            functional.interpolate(colours, grid, mode="bilinear"),
            self.tower["cloud"](xyz, foreground, grid),
            functional.max_pool2d(foreground[:, None].to(image.dtype), self.patch_size)[:, 0] > 0,
        )

    def measure(self, shots: Features) -> None:
        """Set the unit of each modality, so that rates and losses mean the same for every backbone.

        Args:
            shots: Frozen features of the k shots.
        """
        for row, name in enumerate(MODALITIES):
            patches = rearrange(getattr(shots, name), "k c h w -> k h w c")[shots.part]
            self.unit[row] = patches.var(dim=0, correction=0).mean().sqrt().clamp(min=1e-6)

    def scaled(self, frozen: Features) -> Features:
        """Divide frozen features, (B, C, h, w) each, by the units, see `measure`."""
        return frozen._replace(rgb=frozen.rgb / self.unit[0], cloud=frozen.cloud / self.unit[1])

    def scale_in_place(self, frozen: Features) -> None:
        """Scale as `scaled` does, without a copy: the features of a full data set take gigabytes."""
        frozen.rgb.div_(self.unit[0])
        frozen.cloud.div_(self.unit[1])

    def adapt(self, scaled: Features) -> Features:
        """Pass the features of each sample through the adaptors.

        Args:
            scaled: Frozen features of B samples, see `scaled`.

        Returns:
            Adapted features of the same shapes, (B, C, h, w) each.
        """
        return scaled._replace(**{name: self._adapted(name, getattr(scaled, name)) for name in MODALITIES})

    def _adapted(self, name: str, maps: Tensor) -> Tensor:
        if not self.adapts:
            return maps
        tokens = self.adaptors[name](rearrange(maps, "b c h w -> b (h w) c"))
        return rearrange(tokens, "b (h w) c -> b c h w", h=maps.shape[-2])

    @torch.no_grad()
    def fill_banks(self, shots: Features, sampling_ratio: float, seed: int) -> None:
        """Fill the memory banks and learn the scale of their distances, after the adaptation.

        Args:
            shots: Scaled features of the k shots, (k, C, h, w) each; replaced by the adapted ones, since full data sets
                take gigabytes. As `gathered` lays them out, nothing else is copied, either.
            sampling_ratio: See `PatchMemory.choose_coreset`.
            seed: See `PatchMemory.choose_coreset`.

        Raises:
            ValueError: See `PatchMemory.choose_coreset` and `svm_weights`.
        """
        distances = []
        for row, name in enumerate(MODALITIES):
            maps = getattr(shots, name)
            # one by one: the attention of all samples at once would need their number times its memory
            for shot, one in enumerate(maps.split(1)):
                maps[shot] = self._adapted(name, one)[0]
            distances.append(left_out_distances(maps, shots.part))
            self.mean[row], self.deviation[row] = scale_of(distances[row])
            memory: Any = self.memories[name]
            memory.remember(maps)
            memory.choose_coreset(sampling_ratio, seed)
        if self.fusion == "svm":
            self.weight.copy_(svm_weights(torch.stack(distances) / self.deviation[:, None], seed))

    def forward(self, image: Tensor, xyz: Tensor, foreground: Tensor) -> InferenceBatch:
        """Score a batch.

        Args:
            image: See `read`.
            xyz: See `read`.
            foreground: See `read`.

        Returns:
            `pred_score` (B,) and `anomaly_map` (B, H, W), larger = more anomalous; 0 = the mean distance among normal
            parts, 1 = one standard deviation above it, the mean over both modalities, see `fusion`.

        Raises:
            ValueError: If the memory banks are empty.
        """
        adapted = self.adapt(self.scaled(self.read(image, xyz, foreground)))
        size = (image.shape[-2], image.shape[-1])
        scores, maps = [], []
        for row, name in enumerate(MODALITIES):
            found = self.memories[name](getattr(adapted, name), size)
            scores.append(self.weight[row] * (found.pred_score - self.mean[row]) / self.deviation[row])
            maps.append(self.weight[row] * (found.anomaly_map - self.mean[row]) / self.deviation[row])
        return InferenceBatch(pred_score=sum(scores), anomaly_map=sum(maps))
