# SPDX-License-Identifier: Apache-2.0
"""Random draws that depend on given seeds alone and leave everybody else's numbers as they were."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


@contextmanager
def drawing_from(*seeds: int) -> Iterator[None]:
    """Seed torch's CPU generator for a while, and put it back as it was.

    Args:
        seeds: any integers; all of them count, and their order.

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
        # not torch.manual_seed, which would also seed the GPUs, and nobody puts those back
        torch.default_generator.manual_seed(mixed)
        yield


def to_device(drawn: Tensor, like: Tensor) -> Tensor:
    """Bring what the CPU drew to where another tensor is, without making a GPU wait.

    Args:
        drawn: any tensor on the CPU.
        like: a tensor on the wanted device.
    """
    return drawn.pin_memory().to(like.device, non_blocking=True) if like.is_cuda else drawn.to(like.device)
