# SPDX-License-Identifier: Apache-2.0
"""Random draws that depend only on given seeds and do not affect other random draws."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor


@contextmanager
def drawing_from(*seeds: int) -> Iterator[None]:
    """Seed torch's CPU generator temporarily and restore its state afterwards.

    Args:
        seeds: Any integers, equally many for the same purpose; all of them and their order matter, but zeros in front
            do not.

    Example:
        >>> with drawing_from(1, 2):
        ...     first = torch.rand(3)
        >>> with drawing_from(1, 2):
        ...     torch.equal(torch.rand(3), first)
        True
    """
    with torch.random.fork_rng(devices=[]):
        mixed = 0
        for seed in seeds:
            mixed = (mixed * 1_000_003 + seed) % 2**63
        # not torch.manual_seed, which would also seed the GPUs, whose state is not restored
        torch.default_generator.manual_seed(mixed)
        yield


@contextmanager
def numpy_drawing_from(seed: int) -> Iterator[None]:
    """Seed numpy's global generator temporarily, from which scikit-learn draws, and restore its state afterwards.

    Args:
        seed: In [0, 2^32).
    """
    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002


def to_device(drawn: Tensor, like: Tensor) -> Tensor:
    """Move a tensor drawn on the CPU to the device of another tensor, without making a GPU wait.

    Args:
        drawn: Any tensor on the CPU.
        like: A tensor on the target device.
    """
    return drawn.pin_memory().to(like.device, non_blocking=True) if like.is_cuda else drawn.to(like.device)
