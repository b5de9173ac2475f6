# SPDX-License-Identifier: Apache-2.0
"""Memory bank of normal patches and distances of other patches to it: PatchCore without its feature extractor."""

import torch
from anomalib.data import InferenceBatch
from anomalib.models.components import DynamicBufferMixin
from anomalib.models.image.patchcore.anomaly_map import AnomalyMapGenerator
from anomalib.models.image.patchcore.torch_model import PatchcoreModel
from einops import rearrange
from torch import Tensor

from anomalib_clip3dad.errors import InputError
from anomalib_clip3dad.models.coreset import Coreset
from anomalib_clip3dad.seeding import numpy_drawing_from

_AT_ONCE = 4096  # patches whose distances to the bank are computed at once


def check_sampling_ratio(ratio: float) -> None:
    """Raise if a share of patches to keep cannot be one.

    Args:
        ratio: See `PatchMemory.choose_coreset`.

    Raises:
        ValueError: If it is not in (0, 1].
    """
    if not 0 < ratio <= 1:
        msg = f"coreset_sampling_ratio={ratio}: a share in (0, 1] is needed"
        raise InputError(msg)


class PatchMemory(DynamicBufferMixin):
    """PatchCore's memory bank for any features; coreset and anomaly map are anomalib's.

    Roth et al., "Towards Total Recall in Industrial Anomaly Detection", CVPR 2022. With the features of anomalib's
    PatchCore, it gives the same scores.

    Args:
        num_neighbors: Number of neighbours in the bank that weight the score (Eq. 7); all of them if there are fewer.
    """

    memory_bank: Tensor

    def __init__(self, num_neighbors: int = 3) -> None:
        super().__init__()
        self.num_neighbors = num_neighbors
        self.anomaly_map_generator = AnomalyMapGenerator()
        self.register_buffer("memory_bank", torch.empty(0))
        self._remembered: list[Tensor] = []

    def remember(self, embedding: Tensor) -> None:
        """Store the patches of normal samples, `(B, C, h, w)`."""
        self._remembered.append(rearrange(embedding, "b c h w -> (b h w) c"))

    def choose_coreset(self, sampling_ratio: float, seed: int) -> None:
        """Reduce the stored patches to a bank that covers them: greedily, always adding the farthest patch.

        Args:
            sampling_ratio: Share of the patches to keep, in (0, 1].
            seed: Seed of the first patch and of the random projection for the distances; other random generators are
                not affected.

        Raises:
            ValueError: If this share of the patches is less than one patch.
        """
        if len(self._remembered) == 1:
            patches = self._remembered[0]  # not copied: it may be gigabytes
        else:
            patches = torch.cat(self._remembered) if self._remembered else torch.empty(0, 0)
        if int(sampling_ratio * len(patches)) < 1:
            msg = f"coreset_sampling_ratio={sampling_ratio}: nothing would be left of {len(patches)} patches; raise it"
            raise InputError(msg)
        self._remembered = []
        cuda = [patches.device] if patches.device.type == "cuda" else []
        with torch.random.fork_rng(cuda), numpy_drawing_from(seed):  # anomalib's projection draws from both
            torch.manual_seed(seed)
            self.memory_bank = Coreset(patches, sampling_ratio).sample_coreset()

    def nearest(self, patches: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Find the nearest patches of the bank.

        Args:
            patches: `(N, C)`, features of patches.
            count: K, number of neighbours, at most the size of the bank.

        Returns:
            Distances, the smallest first, and indices in the bank, `(N, K)` each.
        """
        # not split in a traced graph, which takes any number of patches
        parts = [patches] if torch.compiler.is_compiling() else patches.split(_AT_ONCE)
        found = [PatchcoreModel.euclidean_dist(part, self.memory_bank) for part in parts]
        nearest = [part.min(1, keepdim=True) if count == 1 else part.topk(count, 1, largest=False) for part in found]
        distances, places = zip(*nearest, strict=True)
        return torch.cat(distances), torch.cat(places)

    def forward(self, embedding: Tensor, size: tuple[int, int]) -> InferenceBatch:
        """Score patches by their distance to the bank.

        Args:
            embedding: `(B, C, h, w)`, features of patches.
            size: Height and width of the anomaly map.

        Returns:
            `pred_score` (B,) and `anomaly_map` (B, *size), larger = more anomalous.

        Raises:
            ValueError: If the bank is empty.
        """
        if not len(self.memory_bank):
            msg = "the memory bank is empty; train the model or load a checkpoint"
            raise InputError(msg)
        height, width = embedding.shape[-2:]
        patches = rearrange(embedding, "b c h w -> (b h w) c")
        distances, places = (rearrange(of, "(b p) 1 -> b p", p=height * width) for of in self.nearest(patches, 1))
        on_grid = rearrange(distances, "b (h w) -> b 1 h w", h=height)
        anomaly_map = rearrange(self.anomaly_map_generator(on_grid, size), "b 1 h w -> b h w")
        patches = rearrange(patches, "(b p) c -> b p c", p=height * width)
        return InferenceBatch(pred_score=self._score(distances, places, patches), anomaly_map=anomaly_map)

    def _score(self, distances: Tensor, places: Tensor, patches: Tensor) -> Tensor:
        """PatchCore, Eq. 6 and 7: the largest distance s*, reduced if the neighbours of m* in the bank are also far."""
        if self.num_neighbors == 1:
            return distances.amax(1)
        worst = distances.argmax(1, keepdim=True)
        farthest, its_place = (of.gather(1, worst)[:, 0] for of in (distances, places))  # s*, place of m*
        patch = patches.gather(1, worst[..., None].expand(-1, -1, patches.shape[2]))  # m^test,*
        _, neighbours = self.nearest(self.memory_bank[its_place], min(self.num_neighbors, len(self.memory_bank)))
        to_neighbours = PatchcoreModel.euclidean_dist(patch, self.memory_bank[neighbours])[:, 0]
        return (1 - to_neighbours.softmax(dim=1)[:, 0]) * farthest
