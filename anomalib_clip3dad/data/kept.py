# SPDX-License-Identifier: Apache-2.0
"""Samples that are read again and again: decoded once, as long as their files stay as they are."""

from collections.abc import Callable, Sequence
from pathlib import Path

from torch import Tensor

Sample = tuple[Tensor, Tensor, Tensor | None]


class KeptSamples:
    """Decoded samples by their files.

    A file counts as the same while its size and the time of its last change are. Nobody may write into what is given.

    Args:
        budget: Bytes to hold; a sample that no longer fits is decoded each time. Worker processes hold one each.
    """

    def __init__(self, budget: int = 1 << 30) -> None:
        self._free = budget
        self._samples: dict[tuple[str, ...], tuple[list[tuple[int, int]], Sample]] = {}

    def get(self, files: Sequence[str], read: Callable[[], Sample]) -> Sample:
        """Give a sample.

        Args:
            files: Paths of all that it is read from; "" = none.
            read: Decodes it.

        Returns:
            What `read` returned, now or before.
        """
        key = tuple(file for file in files if file)
        state = [(found.st_mtime_ns, found.st_size) for found in (Path(file).stat() for file in key)]
        known = self._samples.get(key)
        if known is not None and known[0] == state:
            return known[1]
        sample = read()
        size = sum(tensor.nbytes for tensor in sample if tensor is not None)
        if known is not None:
            self._free += sum(tensor.nbytes for tensor in known[1] if tensor is not None)
            del self._samples[key]
        if size <= self._free:
            self._free -= size
            self._samples[key] = (state, sample)
        return sample
