# SPDX-License-Identifier: Apache-2.0
"""Periodic patterns on the surface of parts, which defects interrupt: ribs, threads, slots, treads, knurls, rings."""

import math

import torch
from torch import Tensor

from small_clip.fields import Dice, chosen, ramp, spread

_SHARE = 0.45  # share of parts with a pattern
_PERIODS = (0.10, 0.45)  # part radii
_HEIGHTS = (0.015, 0.09)  # part radii


def draw_reliefs(dice: Dice, x: Tensor, y: Tensor) -> Tensor:
    """Draw patterns that are added to the height of each part.

    Args:
        dice: Source of random numbers.
        x: (n, S, S), column in part coordinates.
        y: (n, S, S), row in part coordinates.

    Returns:
        (n, S, S) in part radii, at least 0; 0 everywhere for parts without a pattern.
    """
    count = len(x)
    angle = spread(dice.uniform(count, high=2 * math.pi))
    period = spread(dice.log_uniform(count, low=_PERIODS[0], high=_PERIODS[1]))
    stretch, shift = spread(dice.uniform(count, low=0.5, high=2)), spread(dice.uniform(count, high=0.5))
    u = (x * angle.cos() + y * angle.sin()) / period
    v = (y * angle.cos() - x * angle.sin()) / (period * stretch)
    kind = dice.below(len(_PATTERNS), count)
    width, edge = spread(dice.uniform(count, low=0.25, high=0.75)), spread(dice.log_uniform(count, low=0.05, high=0.5))
    pattern = torch.zeros_like(x)
    for make, rows in chosen(_PATTERNS, kind):
        pattern[rows] = make(u[rows], v[rows], width[rows], edge[rows], shift[rows])
    height = dice.log_uniform(count, low=_HEIGHTS[0], high=_HEIGHTS[1]) * dice.chance(_SHARE, count)
    return spread(height) * pattern


def _bars(u: Tensor, width: Tensor, edge: Tensor) -> Tensor:
    """1 on a share `width` of each unit of u, 0 elsewhere, with flanks of width `edge`."""
    from_middle = (torch.remainder(u, 1.0) - 0.5).abs()
    return ramp((0.5 * width - from_middle) / edge + 0.5)


def _ribs(u: Tensor, _v: Tensor, width: Tensor, edge: Tensor, _shift: Tensor) -> Tensor:
    return _bars(u, width, edge)


def _waves(u: Tensor, _v: Tensor, _width: Tensor, _edge: Tensor, _shift: Tensor) -> Tensor:
    return 0.5 + 0.5 * torch.cos(2 * math.pi * u)


def _treads(u: Tensor, v: Tensor, width: Tensor, edge: Tensor, shift: Tensor) -> Tensor:
    """Blocks in rows that are shifted relative to each other."""
    row = v.floor()
    return _bars(u + shift * row, 0.5 + 0.5 * width, edge) * _bars(v, 0.6 + 0.4 * width, edge)


def _slots(u: Tensor, v: Tensor, width: Tensor, edge: Tensor, shift: Tensor) -> Tensor:
    """Short grooves in a flat surface."""
    row = (0.5 * v).floor()
    return 1 - _bars(u + shift * row, 0.5 * width, edge) * _bars(0.5 * v, 0.8 * width + 0.2, edge)


def _knurls(u: Tensor, v: Tensor, _width: Tensor, _edge: Tensor, _shift: Tensor) -> Tensor:
    return 0.5 + 0.25 * (torch.cos(2 * math.pi * (u + v)) + torch.cos(2 * math.pi * (u - v)))


def _rings(u: Tensor, v: Tensor, width: Tensor, edge: Tensor, _shift: Tensor) -> Tensor:
    return _bars(torch.hypot(u, v), width, edge)


_PATTERNS = (_ribs, _waves, _treads, _treads, _slots, _knurls, _rings)
