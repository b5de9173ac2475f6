# SPDX-License-Identifier: Apache-2.0
"""Shape families: smooth, angular and periodic parts."""

import math

import torch
from torch import Tensor

from small_clip.fields import par

from .shape_parts import (
    Shape,
    bar,
    bevel,
    box,
    bulge,
    count,
    dome,
    edge,
    ellipse,
    hexagons,
    polar,
    polygon,
    repeat,
    rows,
    solid,
    stadium,
    stairs,
    star,
)


def _dome(x: Tensor, y: Tensor, p: Tensor, soft: Tensor) -> Tensor:
    q = ellipse(x, y, 0.95, par(p, 0, 0.7, 0.95))
    return solid((q - 1) * 0.8, 0.05 + par(p, 1, 0.15, 0.5) * bulge(q), soft)


def _pebble(x: Tensor, y: Tensor, p: Tensor, soft: Tensor) -> Tensor:
    rho, a = polar(x, y)
    r = 0.8 + 0.09 * torch.cos(2 * a + par(p, 0, 0, 6.28)) + 0.05 * torch.cos(3 * a + par(p, 1, 0, 6.28))
    q = rho / r
    return solid((q - 1) * 0.8, 0.05 + par(p, 2, 0.2, 0.45) * bulge(q * q), soft)


def _bean(x: Tensor, y: Tensor, p: Tensor, soft: Tensor) -> Tensor:
    bend, r = par(p, 0, 0.2, 0.5), par(p, 1, 0.27, 0.38)
    d = stadium(x, y + bend * (x * x - 0.15), 0.5) - r
    return solid(d * 0.9, 0.06 + par(p, 2, 0.25, 0.45) * dome(d, r), soft)


def _egg(x: Tensor, y: Tensor, p: Tensor, soft: Tensor) -> Tensor:
    q = torch.hypot(x / 0.93, y / (par(p, 0, 0.52, 0.68) * (1 - par(p, 1, 0.12, 0.32) * x)))
    return solid((q - 1) * 0.65, 0.06 + par(p, 2, 0.3, 0.5) * bulge(q), soft)


def _lens(x: Tensor, y: Tensor, p: Tensor, soft: Tensor) -> Tensor:
    rho = torch.hypot(x, y)
    cap = (1 - (rho / par(p, 0, 0.7, 0.85)) ** 2).relu_()
    return solid(rho - 0.94, par(p, 2, 0.2, 0.28) + par(p, 1, -0.16, 0.3) * cap, soft)


def _pillow(x: Tensor, y: Tensor, p: Tensor, soft: Tensor) -> Tensor:
    w, h, pinch = par(p, 0, 0.64, 0.66), par(p, 1, 0.5, 0.66), par(p, 2, 0.04, 0.16)
    u, v = 1 - (x / w) ** 2, 1 - (y / h) ** 2
    d = torch.maximum(x.abs() - w * (1 - pinch * v), y.abs() - h * (1 - pinch * u))
    return solid(d, 0.05 + par(p, 3, 0.25, 0.5) * (u * v).relu().sqrt(), soft)


def _bowl(x: Tensor, y: Tensor, p: Tensor, soft: Tensor) -> Tensor:
    q = ellipse(x, y, 0.95, par(p, 0, 0.75, 0.95))
    d = (q - 1) * 0.85
    flat = (q - par(p, 1, 0.1, 0.5)).relu_()
    return solid(d, 0.06 + par(p, 2, 0.5, 0.9) * flat * bevel(d, 0.07), soft)


def _spoon(x: Tensor, y: Tensor, p: Tensor, soft: Tensor) -> Tensor:
    b = par(p, 0, 0.22, 0.34)
    q = ellipse(x - 0.55, y, 0.38, b)
    handle = bar(x + 0.34, y, 0.57, par(p, 1, 0.05, 0.09) * (1 - 0.5 * x))
    hollow = 0.1 + par(p, 2, 0.1, 0.2) * q.clamp(max=1) ** 2
    return solid(torch.minimum((q - 1) * b, handle), hollow, soft)


def _leaf(x: Tensor, y: Tensor, p: Tensor, soft: Tensor) -> Tensor:
    w, side = par(p, 0, 0.3, 0.55), y.abs()
    f = w * (1 - (x / 0.94) ** 2) * (1 - par(p, 1, 0, 0.35) * x)
    vein = torch.minimum(repeat(x - par(p, 2, 0.5, 1.2) * side, par(p, 3, 0.15, 0.3)).abs(), side)
    d = torch.maximum((side - f) * 0.8, x.abs() - 0.94)
    return solid(d, 0.08 + 0.1 * bevel(d, 0.3) + par(p, 4, 0.03, 0.08) * bevel(vein - 0.04, 0.04), soft)


def _drop(x: Tensor, y: Tensor, p: Tensor, soft: Tensor) -> Tensor:
    # The half width is largest, b, at u = -1/2.
    u, b = x / 0.94, par(p, 0, 0.4, 0.6)
    f = bulge(u) * (1 - u) * (1 / 1.3)
    d = torch.maximum((y.abs() - b * f) * 0.8, x.abs() - 0.94)
    return solid(d, 0.06 + par(p, 1, 0.2, 0.45) * f * bulge(y / (b * f + 0.02)), soft)


def _prism(x: Tensor, y: Tensor, p: Tensor, soft: Tensor) -> Tensor:
    w, h = par(p, 0, 0.76, 0.82), par(p, 1, 0.25, 0.45)
    roof = torch.minimum(1 - y.abs() / h, (w - x.abs()) / par(p, 2, 0.02, 0.45))
    return solid(bar(x, y, w, h), 0.05 + par(p, 3, 0.25, 0.5) * roof, soft)


def _pyramid(x: Tensor, y: Tensor, p: Tensor, soft: Tensor) -> Tensor:
    k = count(p, 0, 3, 6)
    d = polygon(x, y, k, 0.94 * torch.cos(math.pi / k))
    return solid(d, 0.06 + par(p, 1, 0.5, 0.9) * torch.minimum(-d, par(p, 2, 0.12, 0.7)), soft)


def _wedge(x: Tensor, y: Tensor, p: Tensor, soft: Tensor) -> Tensor:
    w = par(p, 0, 0.7, 0.8)
    slope = 0.06 + par(p, 2, 0.25, 0.5) * (0.5 + 0.5 * x / w)
    return solid(bar(x, y, w, par(p, 1, 0.3, 0.5)), slope, soft)


def _star_plate(x: Tensor, y: Tensor, p: Tensor, soft: Tensor) -> Tensor:
    d = star(x, y, count(p, 0, 4, 7), 0.95, par(p, 1, 0.35, 0.58))
    return solid(d, 0.07 + par(p, 2, 0.1, 0.3) * bevel(d, par(p, 3, 0.03, 0.35)), soft)


def _hex_nut(x: Tensor, y: Tensor, p: Tensor, soft: Tensor) -> Tensor:
    rho, r = torch.hypot(x, y), par(p, 0, 0.3, 0.48)
    d = torch.maximum(polygon(x, y, 6, 0.81), r - rho)
    top = par(p, 1, 0.25, 0.45) - 0.9 * (rho - par(p, 2, 0.72, 0.82)).relu_() - 1.2 * (r + 0.1 - rho).relu_()
    return solid(d, top, soft)


def _arrow(x: Tensor, y: Tensor, p: Tensor, soft: Tensor) -> Tensor:
    neck = par(p, 0, -0.1, 0.35)
    head = torch.maximum(neck - x, (y.abs() - par(p, 1, 0.45, 0.75) * (0.9 - x) / (0.9 - neck)) * 0.75)
    d = torch.minimum(head, bar(x + 0.38, y, 0.54, par(p, 2, 0.1, 0.25)))
    return solid(d, 0.07 + par(p, 3, 0.1, 0.25) * bevel(d, par(p, 4, 0.03, 0.2)), soft)


def _cross(x: Tensor, y: Tensor, p: Tensor, soft: Tensor) -> Tensor:
    w = par(p, 0, 0.14, 0.3)
    d = torch.minimum(bar(x, y, 0.9, w), bar(x - par(p, 1, 0, 0.3), y, w, par(p, 2, 0.55, 0.75)))
    return solid(d, 0.07 + par(p, 3, 0.1, 0.3) * bevel(d, par(p, 4, 0.03, 0.25)), soft)


def _tee(x: Tensor, y: Tensor, p: Tensor, soft: Tensor) -> Tensor:
    w, v = par(p, 0, 0.18, 0.28), y - 0.3
    d = torch.minimum(bar(x, v, 0.74, w), bar(x, y + 0.3, w, 0.6))
    pipes = torch.maximum(bulge(v / w), edge(v, soft) * bulge(x / w))
    collar = torch.maximum(x.abs() - par(p, 1, 0.5, 0.65), -0.9 + par(p, 2, 0.1, 0.25) - y)
    return solid(d, 0.05 + par(p, 3, 0.2, 0.35) * pipes + 0.08 * edge(-collar, soft), soft)


def _channel(x: Tensor, y: Tensor, p: Tensor, soft: Tensor) -> Tensor:
    w, h = par(p, 0, 0.76, 0.84), par(p, 1, 0.28, 0.42)
    wall = edge(h * par(p, 2, 0.55, 0.85) - y.abs(), soft)
    return solid(bar(x, y, w, h), par(p, 3, 0.06, 0.12) + par(p, 4, 0.15, 0.4) * wall, soft)


def _steps(x: Tensor, y: Tensor, p: Tensor, soft: Tensor) -> Tensor:
    w, k = par(p, 0, 0.7, 0.8), count(p, 1, 2, 6)
    up = stairs((0.5 + 0.5 * x / w) * k, soft * k / (2 * w)) / k
    return solid(bar(x, y, w, par(p, 2, 0.3, 0.5)), 0.08 + par(p, 3, 0.25, 0.5) * up, soft)


def _slab(x: Tensor, y: Tensor, p: Tensor, soft: Tensor) -> Tensor:
    w, h = par(p, 0, 0.78, 0.8), par(p, 1, 0.35, 0.5)
    d = torch.maximum(bar(x, y, w, h), (x.abs() + y.abs() - (w + h - par(p, 2, 0.15, 0.4))) * 0.7)
    return solid(d, 0.07 + par(p, 3, 0.1, 0.35) * bevel(d, par(p, 4, 0.05, 0.25)), soft)


def _crystal(x: Tensor, y: Tensor, p: Tensor, soft: Tensor) -> Tensor:
    d = torch.hypot(x, y) - 0.95
    for i in range(5):
        angle = par(p, i, 1.257 * i - 0.25, 1.257 * i + 0.25)
        d = torch.maximum(d, x * angle.cos() + y * angle.sin() - par(p, (i + 2) % 5, 0.62, 0.72))
    return solid(d, 0.06 + par(p, 5, 0.5, 0.9) * torch.minimum(-d, par(p, 6, 0.2, 0.6) + 0.3 * x), soft)


def _corrugated(x: Tensor, y: Tensor, p: Tensor, soft: Tensor) -> Tensor:
    wave = par(p, 0, 0.06, 0.14) * torch.cos(x * par(p, 1, 12, 36))
    return solid(bar(x, y, par(p, 2, 0.76, 0.8), par(p, 3, 0.35, 0.5)), 0.2 + wave, soft)


def _ribbed_bar(x: Tensor, y: Tensor, p: Tensor, soft: Tensor) -> Tensor:
    h = par(p, 0, 0.14, 0.28)
    rib = bevel(repeat(x + par(p, 1, -0.6, 0.6) * y, par(p, 2, 0.14, 0.28)).abs() - 0.045, 0.03)
    return solid(bar(x, y, 0.9, h), 0.05 + par(p, 3, 0.2, 0.35) * bulge(y / h) + 0.07 * rib, soft)


def _comb(x: Tensor, y: Tensor, p: Tensor, soft: Tensor) -> Tensor:
    pitch, spine = 1.6 / count(p, 0, 6, 12), par(p, 1, 0, 0.25)
    gap = torch.maximum(bar(x, repeat(x, pitch), 0.72, pitch * par(p, 2, 0.2, 0.32)), y - spine)
    d = torch.maximum(bar(x, y, 0.8, 0.45), -gap)
    return solid(d, 0.12 + par(p, 3, 0.05, 0.15) * edge(spine - y, soft), soft)


def _honeycomb(x: Tensor, y: Tensor, p: Tensor, soft: Tensor) -> Tensor:
    pitch, rim = par(p, 0, 0.22, 0.4), polygon(x, y, 6, 0.81)
    cell = hexagons(x, y, pitch) - pitch * par(p, 1, 0.32, 0.42)
    d = torch.maximum(rim, -torch.maximum(cell, rim + 0.06))
    return solid(d, par(p, 2, 0.12, 0.4), soft)


def _studded(x: Tensor, y: Tensor, p: Tensor, soft: Tensor) -> Tensor:
    k = count(p, 0, 3, 6)
    pitch = 1.44 / k
    h = pitch / 2 * (k * par(p, 1, 0.5, 0.84)).floor()
    stud = torch.hypot(rows(x, 0.72, pitch), rows(y, h, pitch)) - pitch * par(p, 2, 0.22, 0.36)
    return solid(box(x, y, 0.72, h, 0.03), par(p, 3, 0.08, 0.2) + par(p, 4, 0.08, 0.2) * edge(stud, soft), soft)


def _braid(x: Tensor, y: Tensor, p: Tensor, soft: Tensor) -> Tensor:
    amplitude, w = par(p, 0, 0.15, 0.2), par(p, 1, 0.1, 0.13)
    q, top = torch.full_like(y, math.inf), torch.zeros_like(y)
    for i in range(3):
        phase = x * par(p, 2, 5, 10) + 2 * math.pi / 3 * i
        strand = (y - amplitude * phase.sin()).abs() / w
        over = (0.28 + 0.1 * torch.sin(2 * phase)) * bulge(strand)
        q, top = torch.minimum(q, strand), torch.maximum(top, over)
    return solid(torch.maximum((q - 1) * w * 0.7, x.abs() - 0.88), 0.05 + top, soft)


def _heat_sink(x: Tensor, y: Tensor, p: Tensor, soft: Tensor) -> Tensor:
    pitch, h = 1.32 / count(p, 0, 5, 10), par(p, 1, 0.4, 0.66)
    fin = bar(rows(x, 0.66, pitch), y, pitch * par(p, 2, 0.15, 0.3), h)
    slot = torch.maximum(fin, par(p, 3, -0.05, 0.08) - y.abs())
    return solid(bar(x, y, 0.66, h), 0.07 + par(p, 4, 0.25, 0.5) * edge(slot, soft), soft)


def _washboard(x: Tensor, y: Tensor, p: Tensor, soft: Tensor) -> Tensor:
    w, frame = par(p, 0, 0.4, 0.55), par(p, 1, 0.08, 0.16)
    inner = edge(bar(x, y + par(p, 2, 0, 0.15), w - frame, 0.58 - frame), soft)
    ridges = 0.07 * torch.cos(y * par(p, 3, 25, 50)) - 0.12
    return solid(bar(x, y, w, 0.76), par(p, 4, 0.25, 0.35) + inner * ridges, soft)


def _perforated(x: Tensor, y: Tensor, p: Tensor, soft: Tensor) -> Tensor:
    pitch, h = par(p, 0, 0.2, 0.34), par(p, 1, 0.4, 0.6)
    rim = box(x, y, 0.74, h, par(p, 2, 0.05, 0.25))
    shift = torch.remainder(torch.floor(y / pitch + 0.5), 2) * (pitch / 2)
    hole = torch.hypot(repeat(x + shift, pitch), repeat(y, pitch)) - pitch * par(p, 3, 0.2, 0.36)
    return solid(torch.maximum(rim, -torch.maximum(hole, rim + 0.05)), par(p, 4, 0.06, 0.2), soft)


PLAIN: tuple[Shape, ...] = (
    Shape(("dome", "round cap"), _dome),
    Shape(("pebble", "smooth stone"), _pebble),
    Shape(("bean", "kidney bean"), _bean),
    Shape(("egg",), _egg),
    Shape(("lens", "optical lens"), _lens),
    Shape(("pillow", "cushion"), _pillow),
    Shape(("bowl", "dish"), _bowl),
    Shape(("spoon",), _spoon),
    Shape(("leaf",), _leaf),
    Shape(("drop", "teardrop"), _drop),
    Shape(("prism", "triangular prism", "roof block"), _prism),
    Shape(("pyramid",), _pyramid),
    Shape(("wedge", "ramp"), _wedge),
    Shape(("star", "star plate"), _star_plate),
    Shape(("hex nut", "hexagonal nut"), _hex_nut),
    Shape(("arrow", "arrow plate"), _arrow),
    Shape(("cross", "cross plate"), _cross),
    Shape(("tee", "T-piece", "pipe tee"), _tee),
    Shape(("channel", "U-channel"), _channel),
    Shape(("stepped block", "stairs"), _steps),
    Shape(("slab", "chamfered slab"), _slab),
    Shape(("crystal", "gemstone"), _crystal),
    Shape(("corrugated sheet",), _corrugated),
    Shape(("ribbed bar", "reinforcing bar"), _ribbed_bar),
    Shape(("comb",), _comb),
    Shape(("honeycomb", "honeycomb plate"), _honeycomb),
    Shape(("studded plate", "building block"), _studded),
    Shape(("braid", "braided strip"), _braid),
    Shape(("heat sink", "finned cooler"), _heat_sink),
    Shape(("washboard",), _washboard),
    Shape(("perforated plate", "perforated sheet"), _perforated),
)
