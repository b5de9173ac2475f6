# SPDX-License-Identifier: Apache-2.0
"""The foreground of clouds that come again and again in a training."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .plane import foreground_mask

_MOST = 64  # samples that are kept, some 3 MB each


class _Known(NamedTuple):
    xyz: Tensor
    foreground: Tensor


class Foregrounds:
    """Finds the foreground of clouds, and keeps that of the first cloud of each file.

    Another cloud of the same file, for instance with a synthetic dent, is looked at anew: the kept one counts only
    for equal clouds.
    """

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}

    def of(self, xyz: Tensor, files: Sequence[str] | None = None) -> Tensor:
        """Find the foreground.

        Args:
            xyz: (B, 3, H, W) organised XYZ in metres, camera frame, (0, 0, 0) = not measured.
            files: Names of the B samples' files; None if they have none, and nothing is kept.

        Returns:
            (B, H, W) bool, that of `foreground_mask`.
        """
        if not files or xyz.is_cuda:  # where comparing takes longer than looking
            return foreground_mask(xyz)
        return torch.stack([self._of_one(cloud, file) for cloud, file in zip(xyz, files, strict=True)])

    def _of_one(self, xyz: Tensor, file: str) -> Tensor:
        known = self._known.get(file)
        if known is not None and torch.equal(known.xyz, xyz):
            return known.foreground
        found = foreground_mask(xyz[None])[0]
        if known is None and len(self._known) < _MOST:
            self._known[file] = _Known(xyz.clone(), found)
        return found
