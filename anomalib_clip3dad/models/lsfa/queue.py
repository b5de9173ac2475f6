# SPDX-License-Identifier: Apache-2.0
"""The dynamic banks of LSFA's compactness losses."""

import torch
from torch import Tensor


class FeatureQueue:
    """First-in, first-out bank of detached features.

    LSFA, patch and prototype bank of the intra-modal feature compactness.

    Args:
        size: Number of features that it holds at most, at least 1.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.features = torch.empty(0)
        self.ids = torch.empty(0, dtype=torch.int64)

    @property
    def is_full(self) -> bool:
        """Whether it holds as many features as it can."""
        return len(self.ids) == self.size

    def push(self, features: Tensor, ids: Tensor) -> None:
        """Add features at the end; the oldest leave where there is no room.

        Args:
            features: (N, D).
            ids: (N,) int64, what each of them describes, see `compactness`.
        """
        features = features.detach()
        if len(self.ids):
            features, ids = torch.cat([self.features, features]), torch.cat([self.ids, ids])
        self.features, self.ids = features[-self.size :].clone(), ids[-self.size :]
