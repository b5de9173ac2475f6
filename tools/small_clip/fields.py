# SPDX-License-Identifier: Apache-2.0
"""Random fields and numbers of a batch from one generator, so that a step is reproducible bit by bit."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional

PERIODS = (2, 6, 20, 70)  # pixels: correlation lengths of the four channels of `noise_fields`
_BICUBIC_LOSS = 0.72  # standard deviation of white noise after bicubic enlargement, measured

Choice = TypeVar("Choice")


class Dice:
    """Random number generator on one device.

    Args:
        seed: Seed of all draws.
        device: Device of the tensors.
    """

    def __init__(self, seed: int, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self.generator = torch.Generator(self.device).manual_seed(seed)

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Draw numbers in [low, high)."""
        return low + (high - low) * torch.rand(shape, generator=self.generator, device=self.device)

    def log_uniform(self, *shape: int, low: float, high: float) -> Tensor:
        """Draw numbers in [low, high) whose logarithm is uniform."""
        return low * (high / low) ** self.uniform(*shape)

    def normal(self, *shape: int) -> Tensor:
        """Draw standard normal numbers."""
        return torch.randn(shape, generator=self.generator, device=self.device)

    def below(self, count: int, *shape: int) -> Tensor:
        """Draw integers 0 .. count - 1."""
        return torch.randint(count, shape, generator=self.generator, device=self.device)

    def chance(self, share: float, *shape: int) -> Tensor:
        """Draw booleans that are true with probability `share`."""
        return self.uniform(*shape) < share

    def pick(self, weights: Tensor) -> Tensor:
        """Draw one index per row of (n, k) weights >= 0 with these probabilities; any index if all are zero."""
        return torch.multinomial(weights + 1e-9, 1, generator=self.generator)[:, 0]


def smooth_noise(dice: Dice, count: int, size: int, period: float) -> Tensor:
    """Draw smooth fields of about zero mean and unit variance: white noise, enlarged bicubically.

    Args:
        dice: Source of random numbers.
        count: Number of fields, n.
        size: Rows and columns.
        period: Distance of the support points in pixels.

    Returns:
        (n, size, size).
    """
    cells = max(round(size / period), 2)
    coarse = dice.normal(count, 1, cells, cells) / _BICUBIC_LOSS
    return functional.interpolate(coarse, (size, size), mode="bicubic", align_corners=False)[:, 0]


def noise_fields(dice: Dice, count: int, size: int) -> Tensor:
    """Draw smooth noise of the four `PERIODS`, fine to coarse: (n, 4, size, size)."""
    return torch.stack([smooth_noise(dice, count, size, period) for period in PERIODS], dim=1)


def chosen(choices: Sequence[Choice], index: Tensor) -> Iterator[tuple[Choice, Tensor]]:
    """Yield each choice that occurs in `index`, with its rows.

    Args:
        choices: The k choices.
        index: (n,), numbers below k.

    Example:
        >>> [(name, rows.tolist()) for name, rows in chosen("abc", torch.tensor([2, 0, 2]))]
        [('a', [1]), ('c', [0, 2])]
    """
    for number, choice in enumerate(choices):
        rows = (index == number).nonzero()[:, 0]
        if len(rows):
            yield choice, rows


def par(p: Tensor, column: int, low: float, high: float) -> Tensor:
    """Scale one column of the proportions `p` (n, k) from [0, 1] to [low, high], (n, 1, 1)."""
    return spread(low + (high - low) * p[:, column])


def spread(values: Tensor) -> Tensor:
    """Reshape (n,) to (n, 1, 1), to broadcast with fields."""
    return values[:, None, None]


def ramp(values: Tensor) -> Tensor:
    """Smooth step: 0 below 0, 1 above 1, 3 t^2 - 2 t^3 between."""
    t = values.clamp(0, 1)
    return t * t * (3 - 2 * t)


def slopes(height: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Slopes of height fields to the right and down, in pixels per pixel.

    Args:
        height: (n, S, S), in part radii.
        scale: (n,), pixels per part radius.

    Returns:
        Slopes to the right and down, (n, S, S) each.
    """
    padded = functional.pad(height[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    right = (padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]) * spread(scale / 2)
    down = (padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]) * spread(scale / 2)
    return right, down
