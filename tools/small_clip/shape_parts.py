# SPDX-License-Identifier: Apache-2.0
"""Building blocks of the shape families: signed distances, profiles and repetition.

All functions are elementwise on tensors that broadcast to (n, H, W). A signed distance is negative inside; several are
"mitred": exact near the straight sides, too small outside a corner, which only sharpens the corner.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from small_clip.fields import par, ramp

Length = float | Tensor


class Shape(NamedTuple):
    """A family of parts.

    Attributes:
        names: One to three plain English names for captions.
        height: Function of x, y (n, H, W) part coordinates, p (n, 8) in [0, 1] that sets the proportions of each
            individual, and soft (n, 1, 1), the width of a pixel; returns the height (n, H, W), 0 outside the part.
    """

    names: tuple[str, ...]
    height: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def count(p: Tensor, i: int, low: int, high: int) -> Tensor:
    """Integer from `low` to `high` (inclusive) for each individual, as a float (n, 1, 1)."""
    return par(p, i, low, high + 1).floor().clamp(max=high)


def edge(d: Tensor, soft: Tensor) -> Tensor:
    """Antialiased inside: 1 where `d` is well below 0, 0 well above, a smooth step 1.5 pixels wide between."""
    return ramp((d * (-1 / (1.5 * soft))).add_(0.5))


def solid(d: Tensor, top: Tensor, soft: Tensor) -> Tensor:
    """Height map of a part with outline `d` < 0 and surface `top`, kept between 0.04 and 0.6."""
    return edge(d, soft) * top.clamp(0.04, 0.6)


def bulge(q: Tensor) -> Tensor:
    """Quarter-circle profile: 1 at q = 0, 0 at abs(q) >= 1."""
    return (1 - q * q).clamp_(min=0).sqrt_()


def bevel(d: Tensor, width: Length) -> Tensor:
    """Chamfer: 0 at the outline, 1 from `width` inside on."""
    return (d / -width).clamp_(0, 1)


def dome(d: Tensor, width: Length) -> Tensor:
    """Rounded rim: 0 at the outline, 1 from `width` inside on."""
    return bulge((d / width).add_(1).clamp_(0, 1))


def repeat(u: Tensor, period: Length) -> Tensor:
    """Periodic coordinate in [-period / 2, period / 2], 0 at the multiples of `period`."""
    return torch.remainder(u + period / 2, period) - period / 2


def rows(u: Tensor, half: Length, period: Length) -> Tensor:
    """Periodic coordinate whose first cell starts at u = -half."""
    return torch.remainder(u + half, period) - period / 2


def stairs(u: Tensor, soft: Tensor) -> Tensor:
    """Floor of `u` with steps about 1.5 `soft` wide."""
    whole = u.floor()
    return whole + ((u - whole - 1) / (1.5 * soft) + 1).clamp(0, 1)


def polar(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Radius and angle (-pi to pi)."""
    return torch.hypot(x, y), torch.atan2(y, x)


def fold(x: Tensor, y: Tensor, k: Length) -> tuple[Tensor, Tensor]:
    """Coordinates rotated into the sector of width 2 pi / k around the x axis: k-fold rotational symmetry."""
    rho, angle = polar(x, y)
    angle = repeat(angle, 2 * math.pi / k)
    return rho * angle.cos(), rho * angle.sin()


def bar(x: Tensor, y: Tensor, w: Length, h: Length) -> Tensor:
    """Mitred signed distance to the rectangle abs(x) < w, abs(y) < h."""
    return torch.maximum(x.abs() - w, y.abs() - h)


def box(x: Tensor, y: Tensor, w: Length, h: Length, r: Length) -> Tensor:
    """Signed distance to the rectangle of half sides `w`, `h` with corners rounded to radius `r`."""
    u, v = x.abs() - (w - r), y.abs() - (h - r)
    return torch.hypot(u.relu(), v.relu()) + torch.maximum(u, v).clamp_(max=0) - r


def ellipse(x: Tensor, y: Tensor, a: Length, b: Length) -> Tensor:
    """Radius in units of the ellipse with half axes `a`, `b`: 1 on its outline."""
    return torch.hypot(x / a, y / b)


def polygon(x: Tensor, y: Tensor, k: Length, apothem: Length) -> Tensor:
    """Mitred signed distance to the regular polygon with `k` sides, one of them facing +x at `apothem`."""
    return fold(x, y, k)[0] - apothem


def star(x: Tensor, y: Tensor, k: Tensor, outer: Length, inner: Length) -> Tensor:
    """Mitred signed distance to the star with `k` points at radius `outer` and notches at radius `inner`."""
    u, v = fold(x, y, k)
    nx, ny = inner * torch.sin(math.pi / k), outer - inner * torch.cos(math.pi / k)
    norm = torch.hypot(nx, ny)
    # A sharp tip would extend far out between pixels, so its end is cut off.
    u = u - outer
    return torch.maximum(u * (nx / norm) + v.abs() * (ny / norm), u)


def stadium(x: Tensor, y: Tensor, half: Length) -> Tensor:
    """Distance to the segment from (-half, 0) to (half, 0)."""
    return torch.hypot((x.abs() - half).relu_(), y)


def hexagons(x: Tensor, y: Tensor, pitch: Length) -> Tensor:
    """Distance across the flats to the nearest centre of a honeycomb: 0 there, pitch / 2 on the cell walls."""

    def lattice(shift: float) -> Tensor:
        u, v = repeat(x + shift * pitch, pitch).abs(), repeat(y + shift * 3**0.5 * pitch, 3**0.5 * pitch).abs()
        return torch.maximum(u, 0.5 * u + 0.75**0.5 * v)

    # The centres are those of two rectangular lattices, one in the middle of the other's cells.
    return torch.minimum(lattice(0.0), lattice(0.5))
