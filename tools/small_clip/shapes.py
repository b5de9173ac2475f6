# SPDX-License-Identifier: Apache-2.0
"""Parametric shape families of industrial parts as height maps.

The categories of Toy3D and their look-alikes are left out, so that a model trained on these shapes has not seen them.

Example:
    >>> import torch
    >>> y, x = torch.meshgrid(torch.linspace(-1, 1, 64), torch.linspace(-1, 1, 64), indexing="ij")
    >>> x, y, soft = x.expand(2, -1, -1), y.expand(2, -1, -1), torch.full((2, 1, 1), 2 / 64)
    >>> SHAPES[0].height(x, y, torch.rand(2, 8), soft).shape
    torch.Size([2, 64, 64])
"""

from .shape_parts import Shape
from .shapes_made import MADE
from .shapes_plain import PLAIN

__all__ = ["SHAPES", "Shape"]

SHAPES: tuple[Shape, ...] = PLAIN + MADE
"""All families; every outline lies inside the unit disc and every height on a part between 0.04 and 0.6."""
