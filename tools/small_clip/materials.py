# SPDX-License-Identifier: Apache-2.0
"""Materials and colours of the procedural parts: batched albedo textures in plain tensor code.

A part is inside the disc of radius 1, drawn with a radius of about 70 pixels. Regular patterns have periods of at least
0.06 (four pixels); finer structure comes from the noise channels. The textures of Toy3D and similar ones are left out,
so that Toy3D stays a test on unseen parts: no yellow orange peel, no wavy grain on tan wood, no red or blue stripes on
plastic, no dark specks on cream or beige.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from small_clip.fields import par, ramp

Albedo = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


class Material(NamedTuple):
    """What a part is made of.

    Attributes:
        names: One or two names for captions, to be read after a colour.
        colours: Names in ``COLOURS`` that it can have.
        gloss: Strength of the highlight, 0 to 0.6.
        grain: Natural unevenness of the surface, a standard deviation in part units, 0 to 0.012.
        albedo: ``(x, y, noise, colour, p) -> albedo``. Part coordinates ``x``, ``y`` (n, H, W); ``noise`` (n, 4, H, W),
            about zero mean and unit variance with correlation lengths of about 2, 6, 20 and 70 pixels; ``colour``
            (n, 3) in [0, 1]; ``p`` (n, 4) in [0, 1], the individual's own proportions. Returns (n, 3, H, W) in [0, 1].
    """

    names: tuple[str, ...]
    colours: tuple[str, ...]
    gloss: float
    grain: float
    albedo: Albedo


COLOURS: dict[str, tuple[float, float, float]] = {
    "white": (0.93, 0.93, 0.92),
    "light grey": (0.74, 0.74, 0.73),
    "grey": (0.52, 0.52, 0.51),
    "dark grey": (0.28, 0.28, 0.28),
    "black": (0.09, 0.09, 0.09),
    "red": (0.80, 0.12, 0.12),
    "dark red": (0.48, 0.07, 0.10),
    "brick red": (0.69, 0.33, 0.23),
    "pink": (0.93, 0.58, 0.67),
    "orange": (0.93, 0.49, 0.11),
    "yellow": (0.93, 0.81, 0.19),
    "golden": (0.80, 0.63, 0.27),
    "copper": (0.74, 0.45, 0.30),
    "bronze": (0.52, 0.39, 0.22),
    "olive": (0.44, 0.45, 0.19),
    "light green": (0.60, 0.82, 0.48),
    "green": (0.20, 0.58, 0.24),
    "dark green": (0.09, 0.32, 0.17),
    "teal": (0.08, 0.50, 0.50),
    "turquoise": (0.28, 0.78, 0.76),
    "light blue": (0.56, 0.76, 0.92),
    "blue": (0.15, 0.33, 0.75),
    "dark blue": (0.09, 0.15, 0.39),
    "purple": (0.46, 0.22, 0.58),
    "cream": (0.93, 0.88, 0.75),
    "beige": (0.82, 0.73, 0.58),
    "light brown": (0.67, 0.50, 0.33),
    "brown": (0.45, 0.29, 0.17),
    "dark brown": (0.26, 0.16, 0.10),
}


def smooth(value: Tensor, low: float | Tensor, width: float) -> Tensor:
    """Smooth step from 0 at ``low`` to 1 at ``low + width``.

    Args:
        value: Any shape.
        low: Start of the step, a number or a tensor that broadcasts with ``value``.
        width: Width of the step, positive.

    Returns:
        As ``value``, in [0, 1].
    """
    return ramp((value - low) / width)


def along(x: Tensor, y: Tensor, p: Tensor, turn: float = 0.0) -> Tensor:
    """Coordinate along the individual's own direction, which is ``p[:, 0]`` of a half turn.

    Args:
        x: Part coordinates (n, H, W).
        y: Part coordinates (n, H, W).
        p: Proportions (n, 4) in [0, 1].
        turn: Added to the direction, in half turns: 0.5 gives the coordinate across.

    Returns:
        (n, H, W).
    """
    angle = par(p, 0, math.pi * turn, math.pi * (turn + 1))
    return x * angle.cos() + y * angle.sin()


def wave(u: Tensor, period: float | Tensor, shift: float | Tensor = 0.0) -> Tensor:
    """Sine wave that is 0 and rising at ``u = 0``.

    Args:
        u: Coordinate (n, H, W).
        period: Length of a period in the units of ``u``.
        shift: Added to the phase, in radians.

    Returns:
        (n, H, W) in [-1, 1].
    """
    return torch.sin(u * (2 * math.pi / period) + shift)


def _crease(field: Tensor, sharpness: float) -> Tensor:
    """Thin lines where a noise field (n, H, W) passes zero: 1 on the line, falling to 0 beside it."""
    return torch.exp(-((sharpness * field) ** 2))


def mix(first: Tensor, second: Tensor, weight: Tensor) -> Tensor:
    """Mix two colours.

    Args:
        first: RGB (n, 3) or (3,), where the weight is 0.
        second: RGB (n, 3) or (3,), where it is 1.
        weight: (n, H, W).

    Returns:
        (n, 3, H, W) in [0, 1].
    """
    return (first[..., None, None] + weight[:, None] * (second - first)[..., None, None]).clamp(0, 1)


def _tone(colour: Tensor, change: Tensor) -> Tensor:
    """Make a colour (n, 3) lighter and darker by the relative ``change`` (n, H, W); gives (n, 3, H, W) in [0, 1]."""
    return mix(colour, 2 * colour + 0.15, change)  # the 0.15 lets a black surface have a texture too


def _lighter(colour: Tensor, share: float) -> Tensor:
    """Go ``share`` of the way from an RGB colour to white."""
    return colour + share * (1 - colour)


def _named(name: str, like: Tensor) -> Tensor:
    """Give the RGB (3,) of a colour of ``COLOURS``, with the type and device of ``like``."""
    return like.new_tensor(COLOURS[name])


def _mottled(fine: float, small: float, medium: float, large: float) -> Albedo:
    """Shades without a pattern, as much of each noise channel as said; ``p[:, 3]`` scales them by 0.7 to 1.3."""

    def albedo(_x: Tensor, _y: Tensor, noise: Tensor, colour: Tensor, p: Tensor) -> Tensor:
        change = fine * noise[:, 0] + small * noise[:, 1] + medium * noise[:, 2] + large * noise[:, 3]
        return _tone(colour, par(p, 3, 0.7, 1.3) * change)

    return albedo


def _specked(channel: int, level: float, second: float | str) -> Albedo:
    """Specks where a noise channel exceeds about ``level``: of a named colour, or ``second`` times as bright."""

    def albedo(_x: Tensor, _y: Tensor, noise: Tensor, colour: Tensor, p: Tensor) -> Tensor:
        other = _named(second, colour) if isinstance(second, str) else second * colour
        weight = smooth(noise[:, channel], par(p, 1, level - 0.25, level + 0.25), 0.35)
        return mix(colour, other, weight + 0.04 * noise[:, 1])

    return albedo


def _streaked(contrast: float) -> Albedo:
    """Straight streaks of uneven width; the long noise makes them come and go."""

    def albedo(x: Tensor, y: Tensor, noise: Tensor, colour: Tensor, p: Tensor) -> Tensor:
        u = along(x, y, p)
        streaks = wave(u, 0.067) + wave(u, 0.103, 1.0) + wave(u, 0.271, 2.0)
        return _tone(colour, contrast * (streaks * (1 + 0.4 * noise[:, 3]) + 0.5 * noise[:, 0]))

    return albedo


def _rusty(_x: Tensor, _y: Tensor, noise: Tensor, colour: Tensor, p: Tensor) -> Tensor:
    weight = smooth(noise[:, 2] + 0.5 * noise[:, 1], par(p, 1, -0.6, 0.8), 0.6)
    return mix(colour, colour.new_tensor((0.52, 0.25, 0.10)), weight + 0.1 * noise[:, 0])


def _polished(x: Tensor, y: Tensor, noise: Tensor, colour: Tensor, p: Tensor) -> Tensor:
    # the surroundings in a mirror: broad soft bands
    return _tone(colour, 0.22 * wave(along(x, y, p), par(p, 1, 0.7, 1.4), 0.8 * noise[:, 3]))


def _concrete(_x: Tensor, _y: Tensor, noise: Tensor, colour: Tensor, p: Tensor) -> Tensor:
    pores = smooth(noise[:, 1], par(p, 1, 1.4, 2.0), 0.4)
    return _tone(colour, 0.06 * noise[:, 0] + 0.07 * noise[:, 2] - 0.35 * pores)


def _granite(_x: Tensor, _y: Tensor, noise: Tensor, colour: Tensor, p: Tensor) -> Tensor:
    light = smooth(noise[:, 0] + 0.5 * noise[:, 1], par(p, 1, 0.3, 0.9), 0.3)
    dark = smooth(-0.6 * noise[:, 0] - noise[:, 1], par(p, 2, 0.4, 1.0), 0.3)
    return _tone(colour, 0.25 * light - 0.5 * dark)


def _marble(_x: Tensor, _y: Tensor, noise: Tensor, colour: Tensor, p: Tensor) -> Tensor:
    veins = _crease(noise[:, 3] + 0.35 * noise[:, 2], 6) + 0.5 * _crease(noise[:, 2] + 0.2 * noise[:, 1], 7)
    # veins are dark in light stone and light in dark stone
    other = 0.35 + 0.3 * (colour.mean(1, keepdim=True) < 0.4) + 0.0 * colour
    return mix(colour, other, par(p, 3, 0.5, 0.9) * veins + 0.06 * noise[:, 3])


def _pine(x: Tensor, y: Tensor, noise: Tensor, colour: Tensor, p: Tensor) -> Tensor:
    u = along(x, y, p)
    rings = smooth(wave(u, par(p, 1, 0.14, 0.24), 1.5 * torch.sin(5 * u)), -0.4, 1.4)
    return _tone(colour, -par(p, 3, 0.2, 0.35) * rings + 0.03 * noise[:, 0])


def _banded_wood(x: Tensor, y: Tensor, noise: Tensor, colour: Tensor, p: Tensor) -> Tensor:
    bands = wave(along(x, y, p), par(p, 1, 0.3, 0.5), 0.5 * noise[:, 3])
    return _tone(colour, 0.45 * smooth(bands, -0.5, 1.2) - 0.2 + 0.06 * noise[:, 0])


def _cork(_x: Tensor, _y: Tensor, noise: Tensor, colour: Tensor, p: Tensor) -> Tensor:
    granules = smooth(noise[:, 1], par(p, 1, -0.3, 0.1), 0.5)
    return _tone(colour, 0.3 * granules - 0.1 + 0.06 * noise[:, 0])


def _leather(_x: Tensor, _y: Tensor, noise: Tensor, colour: Tensor, p: Tensor) -> Tensor:
    return _tone(colour, 0.06 * noise[:, 2] - par(p, 3, 0.25, 0.45) * _crease(noise[:, 1], 3.5))


def _woven(x: Tensor, y: Tensor, noise: Tensor, colour: Tensor, p: Tensor) -> Tensor:
    period = par(p, 1, 0.16, 0.26)
    warp, weft = wave(along(x, y, p), period), wave(along(x, y, p, 0.5), period)
    # a thread is visible where it is on top, which changes from crossing to crossing
    over = smooth(warp * weft, -0.15, 0.3)
    threads = over * warp.abs() + (1 - over) * (0.5 - 0.8 * weft.abs())
    return _tone(colour, par(p, 3, 0.3, 0.5) * (threads - 0.4) + 0.04 * noise[:, 0])


def _striped(x: Tensor, y: Tensor, _noise: Tensor, colour: Tensor, p: Tensor) -> Tensor:
    return mix(colour, _lighter(colour, 0.65), smooth(wave(along(x, y, p), par(p, 1, 0.2, 0.5)), -0.1, 0.2))


def _dotted(x: Tensor, y: Tensor, _noise: Tensor, colour: Tensor, p: Tensor) -> Tensor:
    period = par(p, 1, 0.3, 0.5)
    lattice = wave(along(x, y, p), period) + wave(along(x, y, p, 0.5), period)
    return mix(colour, _lighter(colour, 0.8), smooth(lattice, par(p, 2, 0.7, 1.1), 0.2))


def _checkered(x: Tensor, y: Tensor, _noise: Tensor, colour: Tensor, p: Tensor) -> Tensor:
    period = par(p, 1, 0.4, 0.7)
    squares = smooth(wave(along(x, y, p), period) * wave(along(x, y, p, 0.5), period), -0.06, 0.12)
    return mix(colour, _lighter(colour, 0.7), squares)


def _camouflage(_x: Tensor, _y: Tensor, noise: Tensor, colour: Tensor, p: Tensor) -> Tensor:
    dark = smooth(noise[:, 2], par(p, 1, 0.2, 0.6), 0.1)
    light = smooth(noise[:, 3] - 0.8 * noise[:, 2], par(p, 2, 0.5, 0.9), 0.1)
    return _tone(colour, 0.6 * light * (1 - dark) - 0.55 * dark)


def _cardboard(x: Tensor, y: Tensor, noise: Tensor, colour: Tensor, p: Tensor) -> Tensor:
    flutes = wave(along(x, y, p), par(p, 1, 0.1, 0.16))
    return _tone(colour, 0.07 * flutes + 0.03 * noise[:, 0] + 0.03 * noise[:, 2])


def _carbon(x: Tensor, y: Tensor, _noise: Tensor, colour: Tensor, p: Tensor) -> Tensor:
    period = par(p, 1, 0.3, 0.44)
    u, v = along(x, y, p), along(x, y, p, 0.5)
    over = smooth(wave(u, period) * wave(v, period), -0.1, 0.2)
    # the fibres of a tow run along it, and the two directions shine differently
    fibres = over * wave(u, 0.065) + (1 - over) * wave(v, 0.065)
    return _tone(colour, 0.6 * over - 0.25 + 0.15 * fibres)


def _glassy(x: Tensor, y: Tensor, noise: Tensor, colour: Tensor, p: Tensor) -> Tensor:
    u = along(x, y, p)
    streak = _crease(u - par(p, 1, -0.4, 0.4), 6)
    return mix(0.75 * colour, _lighter(colour, 0.6), smooth(u, -1.2, 2.4) + 0.35 * streak + 0.04 * noise[:, 3])


def _sandstone(x: Tensor, y: Tensor, noise: Tensor, colour: Tensor, p: Tensor) -> Tensor:
    u = along(x, y, p)
    # the phase runs unevenly, so that the layers are of unequal thickness
    layers = wave(u, par(p, 1, 0.45, 0.7), 2.5 * torch.sin(4 * u)) + 0.6 * wave(u, 0.19, 3 * torch.sin(7 * u))
    return _tone(colour, 0.12 * layers + 0.05 * noise[:, 0] + 0.03 * noise[:, 1])


def _two_tone(x: Tensor, y: Tensor, _noise: Tensor, colour: Tensor, p: Tensor) -> Tensor:
    # the channels in reverse order: another hue, as bright
    return mix(colour, colour.flip(1), smooth(along(x, y, p), par(p, 1, -0.9, -0.5), 1.4))


def _hammered(x: Tensor, y: Tensor, noise: Tensor, colour: Tensor, p: Tensor) -> Tensor:
    period = par(p, 1, 0.3, 0.45)
    dents = wave(along(x, y, p), period, 1.2 * noise[:, 2]) * wave(along(x, y, p, 0.5), period, 1.5 * noise[:, 3])
    return _tone(colour, par(p, 3, 0.15, 0.28) * dents)


def _rope(x: Tensor, y: Tensor, noise: Tensor, colour: Tensor, p: Tensor) -> Tensor:
    # rows of cord, each of strands that run round it
    row = wave(along(x, y, p), par(p, 1, 0.28, 0.4))
    strands = wave(along(x, y, p, 0.5), par(p, 2, 0.13, 0.19), 2.2 * row)
    return _tone(colour, 0.22 * strands - 0.35 * _crease(row, 4) + 0.06 * noise[:, 0])


_GREYS = ("white", "light grey", "grey", "dark grey", "black")
_VIVID = ("red", "orange", "green", "blue", "purple", "yellow", "light green", "turquoise", "pink")
_PALE = ("white", "light blue", "light green", "pink", "turquoise")
_DEEP = ("black", "green", "dark green", "teal", "purple")
_DARK = ("black", "dark grey", "dark red", "dark blue")
_HIDES = ("black", "brown", "dark brown", "dark red", "dark green", "dark blue")
_WOOL = ("red", "dark red", "green", "dark green", "teal", "dark blue", "purple", "grey", "beige", "cream")
_METAL = ("light grey", "copper", "bronze")
_DYES = ("red", "orange", "green", "teal", "purple")
_MIXABLE = ("red", "orange", "yellow", "teal", "blue", "brown")  # reversing their channels changes them

INDUSTRIAL = 9  # number of industrial materials, the first ones of the list

MATERIALS: tuple[Material, ...] = (
    Material(("plastic", "plain plastic"), _VIVID + _GREYS, 0.35, 0.0, _mottled(0.0, 0.0, 0.0, 0.02)),
    Material(("rubber", "matte rubber"), (*_DARK, "brick red"), 0.04, 0.003, _mottled(0.06, 0.03, 0.0, 0.03)),
    Material(("moulded plastic", "hard plastic"), _GREYS, 0.2, 0.002, _mottled(0.03, 0.0, 0.0, 0.04)),
    Material(("machined metal", "turned metal"), (*_METAL, "grey"), 0.4, 0.001, _streaked(0.03)),
    Material(("black rubber", "tyre rubber"), ("black",), 0.08, 0.004, _mottled(0.1, 0.06, 0.03, 0.03)),
    Material(("brushed metal", "brushed steel"), (*_METAL, "golden"), 0.5, 0.002, _streaked(0.045)),
    Material(("cast iron",), ("black", "dark grey", "dark brown"), 0.12, 0.008, _mottled(0.13, 0.1, 0.04, 0.0)),
    Material(("rusty metal", "rusted steel"), ("grey", "dark grey", "teal", "olive"), 0.1, 0.008, _rusty),
    Material(("polished metal", "shiny metal"), ("golden", "copper", "bronze"), 0.6, 0.0, _polished),
    Material(("anodised aluminium",), _DYES, 0.45, 0.001, _streaked(0.025)),
    Material(("glossy paint", "textured paint"), (*_DYES, *_PALE), 0.5, 0.006, _mottled(0.0, 0.06, 0.02, 0.0)),
    Material(("speckled ceramic", "speckled glaze"), _PALE, 0.5, 0.001, _specked(1, 1.5, "dark grey")),
    Material(("terracotta", "fired clay"), ("brick red", "copper"), 0.03, 0.005, _mottled(0.06, 0.03, 0.06, 0.03)),
    Material(("concrete", "cement"), ("light grey", "grey", "dark grey"), 0.02, 0.008, _concrete),
    Material(("granite",), ("light grey", "grey", "pink", "brick red", "olive"), 0.3, 0.001, _granite),
    Material(("marble", "veined marble"), (*_PALE, "cream", "black", "dark green"), 0.45, 0.0, _marble),
    Material(("pine wood", "straight-grained wood"), ("cream", "light brown"), 0.1, 0.002, _pine),
    Material(("dark wood", "walnut wood"), ("brown", "dark brown", "dark grey"), 0.15, 0.003, _banded_wood),
    Material(("cork",), ("brown", "dark brown"), 0.02, 0.006, _cork),
    Material(("leather",), _HIDES, 0.2, 0.005, _leather),
    Material(("woven cloth", "canvas"), _WOOL, 0.0, 0.006, _woven),
    Material(("felt", "wool"), _WOOL, 0.0, 0.01, _mottled(0.07, 0.05, 0.0, 0.03)),
    Material(("striped plastic",), _DEEP, 0.35, 0.0, _striped),
    Material(("dotted plastic", "polka dot plastic"), (*_DEEP, "orange"), 0.3, 0.0, _dotted),
    Material(("checkered plastic", "checkered tile"), (*_DEEP, "brown"), 0.3, 0.0, _checkered),
    Material(("camouflage cloth", "camouflage"), ("olive", "green", "grey", "light brown"), 0.03, 0.004, _camouflage),
    Material(("paper",), (*_PALE, "cream", "yellow"), 0.0, 0.002, _mottled(0.025, 0.015, 0.01, 0.0)),
    Material(("cardboard", "corrugated cardboard"), ("light brown", "beige", "grey"), 0.0, 0.003, _cardboard),
    Material(("carbon fibre",), _DARK, 0.5, 0.001, _carbon),
    Material(("glass", "tinted glass"), (*_PALE[1:], "green", "purple"), 0.6, 0.0, _glassy),
    Material(("chocolate",), ("dark brown", "brown", "cream"), 0.25, 0.001, _mottled(0.0, 0.015, 0.04, 0.05)),
    Material(("cheese", "cheese with holes"), ("yellow", "orange", "cream"), 0.12, 0.003, _specked(2, 1.2, 0.68)),
    Material(("sandstone", "layered stone"), ("beige", "brick red", "copper", "grey"), 0.0, 0.008, _sandstone),
    Material(("moss", "turf"), ("green", "dark green", "olive"), 0.0, 0.012, _mottled(0.16, 0.15, 0.06, 0.0)),
    Material(("two-tone plastic", "gradient plastic"), _MIXABLE, 0.35, 0.0, _two_tone),
    Material(("hammered metal",), _METAL, 0.5, 0.008, _hammered),
    Material(("rope", "twisted cord"), ("beige", "white", "olive", "blue", "orange"), 0.0, 0.01, _rope),
)
