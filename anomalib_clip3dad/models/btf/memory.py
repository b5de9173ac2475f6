# SPDX-License-Identifier: Apache-2.0
"""PatchCore from its patch features on: memory bank, coreset, scores and map are anomalib's."""

from collections.abc import Sequence

import numpy as np
import torch
from anomalib.data import InferenceBatch
from anomalib.models.image.patchcore.anomaly_map import AnomalyMapGenerator
from anomalib.models.image.patchcore.torch_model import PatchcoreModel
from einops import rearrange
from torch import Tensor, nn

from anomalib_clip3dad.errors import InputError


class PatchMemory(PatchcoreModel):
    """anomalib's PatchCore for features that come from elsewhere.

    Roth et al., "Towards Total Recall in Industrial Anomaly Detection", CVPR 2022. Fed with PatchCore's features, it
    gives PatchCore's scores.

    Args:
        layers: names of the feature maps that `generate_embedding` is to join.
        num_neighbors: neighbours in the bank that the score is weighed by (Eq. 7); all there are, if they are fewer.
    """

    def __init__(self, layers: Sequence[str] = (), num_neighbors: int = 3) -> None:
        # not PatchCore's own constructor, which would load a backbone (read in anomalib 2.7.0)
        super(PatchcoreModel, self).__init__()
        self.layers = layers
        self.num_neighbors = num_neighbors
        self.feature_pooler = nn.AvgPool2d(3, 1, 1)
        self.anomaly_map_generator = AnomalyMapGenerator()
        self.register_buffer("memory_bank", torch.empty(0))
        self.embedding_store: list[Tensor] = []

    def remember(self, embedding: Tensor) -> None:
        """Keep the patches of flawless samples.

        Args:
            embedding: `(B, C, h, w)`.
        """
        self.embedding_store.append(self.reshape_embedding(embedding))

    def choose_coreset(self, sampling_ratio: float, seed: int) -> None:
        """Thin out what was remembered to a bank that covers it: greedy, each patch the farthest from those chosen.

        Args:
            sampling_ratio: share of the patches to keep, in (0, 1].
            seed: of the first patch and of the random projection that distances are measured in; the generators of
                others are left as they were.

        Raises:
            ValueError: If so small a share of so few patches is none.
        """
        patches = sum(len(embedding) for embedding in self.embedding_store)
        if int(sampling_ratio * patches) < 1:
            msg = f"coreset_sampling_ratio={sampling_ratio}: nothing would be left of {patches} patches; raise it"
            raise InputError(msg)
        device = self.embedding_store[0].device
        numpy_state = np.random.get_state()  # noqa: NPY002  # scikit-learn's, which anomalib's projection draws from
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(seed)
            np.random.seed(seed)  # noqa: NPY002
            try:
                self.subsample_embedding(sampling_ratio)
            finally:
                np.random.set_state(numpy_state)  # noqa: NPY002

    def nearest_neighbors(self, embedding: Tensor, n_neighbors: int) -> tuple[Tensor, Tensor]:
        """PatchCore's, without its division into parts while a graph is traced: one for any number of samples.

        Args:
            embedding: `(N, C)`.
            n_neighbors: K.

        Returns:
            Distances and places in the bank, `(N, K)`; `(N,)` each for K = 1.
        """
        if not torch.compiler.is_compiling():
            return super().nearest_neighbors(embedding, n_neighbors)
        distances = self.euclidean_dist(embedding, self.memory_bank)
        if n_neighbors == 1:
            return distances.min(1)
        return distances.topk(k=n_neighbors, largest=False, dim=1)

    def forward(  # type: ignore[override]  # PatchCore's takes pictures
        self, embedding: Tensor, size: tuple[int, int]
    ) -> InferenceBatch:
        """Score patches by their distance to the bank.

        Args:
            embedding: `(B, C, h, w)`.
            size: height and width of the map.

        Returns:
            `pred_score` (B,) and `anomaly_map` (B, *size), larger = more anomalous.

        Raises:
            ValueError: If the bank is empty.
        """
        if not len(self.memory_bank):
            msg = "the memory bank is empty; train the model or load a checkpoint"
            raise InputError(msg)
        height, width = embedding.shape[-2:]
        patches = self.reshape_embedding(embedding)
        scores, locations = self.nearest_neighbors(patches, n_neighbors=1)
        scores = rearrange(scores, "(b p) -> b p", p=height * width)
        locations = rearrange(locations, "(b p) -> b p", p=height * width)
        pred_score = self.compute_anomaly_score(scores, locations, patches)
        anomaly_map = self.anomaly_map_generator(rearrange(scores, "b (h w) -> b 1 h w", h=height), size)
        return InferenceBatch(pred_score=pred_score, anomaly_map=rearrange(anomaly_map, "b 1 h w -> b h w"))
