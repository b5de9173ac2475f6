# SPDX-License-Identifier: Apache-2.0
"""Shape families: parts with holes, thin parts, ropes and composed parts."""

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
    fold,
    polar,
    polygon,
    repeat,
    solid,
    stadium,
    star,
)


def _square_flange(x: Tensor, y: Tensor, p: Tensor, soft: Tensor) -> Tensor:
    rho, bore = torch.hypot(x, y), par(p, 0, 0.18, 0.34)
    corner = torch.hypot(x.abs() - 0.52, y.abs() - 0.52) - par(p, 1, 0.06, 0.11)
    d = torch.maximum(box(x, y, 0.7, 0.7, 0.15), -torch.minimum(rho - bore, corner))
    return solid(d, par(p, 2, 0.08, 0.15) + par(p, 3, 0.05, 0.25) * edge(rho - bore - 0.13, soft), soft)


def _triangular_flange(x: Tensor, y: Tensor, p: Tensor, soft: Tensor) -> Tensor:
    # The corners of a mitred triangle are sharp, so the disc cuts them off.
    rho, bore = torch.hypot(x, y), par(p, 0, 0.15, 0.28)
    u, v = fold(x, y, 3)
    holes = torch.minimum(rho - bore, torch.hypot(u - 0.7, v) - par(p, 1, 0.06, 0.1))
    d = torch.maximum(torch.maximum(polygon(-x, -y, 3, 0.5), rho - 0.94), -holes)
    return solid(d, par(p, 2, 0.08, 0.15) + par(p, 3, 0.05, 0.25) * edge(rho - bore - 0.12, soft), soft)


def _hinge(x: Tensor, y: Tensor, p: Tensor, soft: Tensor) -> Tensor:
    w, h, r = par(p, 0, 0.7, 0.8), par(p, 1, 0.42, 0.5), par(p, 2, 0.09, 0.15)
    hole = torch.hypot(x.abs() - 0.62 * w, y.abs() - 0.55 * h) - par(p, 3, 0.05, 0.1)
    knuckle = bevel(0.025 - repeat(y, par(p, 4, 0.2, 0.35)).abs(), 0.015)
    return solid(torch.maximum(bar(x, y, w, h), -hole), 0.09 + 0.25 * bulge(x / r) * (0.5 + 0.5 * knuckle), soft)


def _chain_link(x: Tensor, y: Tensor, p: Tensor, soft: Tensor) -> Tensor:
    r, w = par(p, 0, 0.28, 0.38), par(p, 1, 0.1, 0.14)
    loop = (stadium(x, y, 0.4) - r).abs() - w
    d = torch.minimum(loop, bar(x, y, par(p, 2, 0.06, 0.1), r))
    return solid(d, 0.06 + par(p, 3, 0.2, 0.35) * dome(d, w), soft)


def _button(x: Tensor, y: Tensor, p: Tensor, soft: Tensor) -> Tensor:
    rho = torch.hypot(x, y)
    u, v = fold(x, y, 2 * count(p, 0, 1, 2))
    hole = torch.hypot(u - par(p, 1, 0.2, 0.3), v) - par(p, 2, 0.08, 0.13)
    rim = edge(par(p, 3, 0.6, 0.8) - rho, soft) * dome(rho - 0.94, 0.12)
    return solid(torch.maximum(rho - 0.94, -hole), 0.1 + par(p, 4, 0.06, 0.15) * rim, soft)


def _spanner(x: Tensor, y: Tensor, p: Tensor, soft: Tensor) -> Tensor:
    jaw = torch.hypot(x + 0.58, y) - par(p, 0, 0.28, 0.36)
    eye = torch.hypot(x - 0.65, y) - par(p, 1, 0.2, 0.28)
    d = torch.minimum(torch.minimum(jaw, eye), bar(x, y, 0.5, par(p, 2, 0.08, 0.15)))
    cut = torch.minimum(bar(x + 0.8, y, 0.3, par(p, 3, 0.1, 0.16)), eye + 0.1)
    return solid(torch.maximum(d, -cut), par(p, 4, 0.1, 0.15) + 0.08 * edge(torch.minimum(jaw, eye), soft), soft)


def _key(x: Tensor, y: Tensor, p: Tensor, soft: Tensor) -> Tensor:
    bow = torch.hypot(x + 0.58, y / par(p, 0, 0.8, 1.3)) - 0.34
    bits = torch.maximum(bar(x - 0.67, y, 0.2, 1), (y + 0.18 + 0.1 * torch.cos(x * par(p, 1, 20, 45))).neg_())
    d = torch.minimum(bar(x - 0.2, y, 0.72, 0.07), torch.maximum(bits, y))
    d = torch.maximum(torch.minimum(bow, d), -bow - par(p, 2, 0.1, 0.2))
    return solid(d, par(p, 3, 0.08, 0.15) + 0.1 * bevel(d, par(p, 4, 0.03, 0.08)), soft)


def _rod(x: Tensor, y: Tensor, p: Tensor, soft: Tensor) -> Tensor:
    w, h = par(p, 0, 0.8, 0.93), par(p, 1, 0.06, 0.14)
    groove = bevel(0.03 - (x.abs() - par(p, 2, 0.4, 0.75)).abs(), 0.02)
    return solid(bar(x, y, w, h), 0.05 + par(p, 3, 0.12, 0.3) * bulge(y / h) * (0.7 + 0.3 * groove), soft)


def _ruler(x: Tensor, y: Tensor, p: Tensor, soft: Tensor) -> Tensor:
    h, pitch = par(p, 0, 0.12, 0.2), 1.84 / count(p, 1, 12, 24)
    short = torch.maximum(repeat(x, pitch).abs() - 0.012, h * 0.4 - y)
    long = torch.maximum(repeat(x, 5 * pitch).abs() - 0.015, -y)
    top = par(p, 2, 0.12, 0.2) - 0.05 * edge(torch.minimum(short, long), soft)
    return solid(bar(x, y, 0.92, h), top, soft)


def _fork(x: Tensor, y: Tensor, p: Tensor, soft: Tensor) -> Tensor:
    w = par(p, 0, 0.18, 0.27)
    pitch = 2 * w / count(p, 1, 2, 4)
    gap = torch.maximum(repeat(y - w, pitch).abs() - pitch * par(p, 2, 0.15, 0.25), par(p, 3, 0.3, 0.5) - x)
    head = torch.maximum(box(x - 0.5, y, 0.42, w, 0.1), -gap)
    d = torch.minimum(head, bar(x + 0.35, y, 0.57, 0.06 - 0.03 * x))
    return solid(d, 0.08 + par(p, 4, 0.08, 0.2) * bevel(d, 0.05) + 0.06 * x * x, soft)


def _paper_clip(x: Tensor, y: Tensor, p: Tensor, soft: Tensor) -> Tensor:
    # Half loops around two centres a distance `gap` apart: two on the right, one between them on the left.
    w, a, gap = par(p, 0, 0.03, 0.045), par(p, 1, 0.12, 0.18), par(p, 2, 0.11, 0.13)
    past = (x.abs() - par(p, 3, 0.41, 0.44)).relu_()
    right = (((torch.hypot(past, y - gap / 2) - a - gap).abs() - gap).abs()) - w
    left = (torch.hypot(past, y + gap / 2) - a - gap).abs() - w
    # The halves overlap a little, so that continuing wires have no seam.
    d = torch.minimum(torch.maximum(right, -x - w), torch.maximum(left, x - w))
    return solid(d, 0.06 + par(p, 4, 1, 3) * w * dome(d, w), soft)


def _hook(x: Tensor, y: Tensor, p: Tensor, soft: Tensor) -> Tensor:
    r, w = par(p, 0, 0.3, 0.42), par(p, 1, 0.07, 0.12)
    arc = torch.maximum((torch.hypot(x, y + 0.35) - r).abs() - w, y + 0.35 - par(p, 2, 0, 0.1))
    shaft = bar(x - r, y - 0.2, w, 0.56)
    eye = (torch.hypot(x - r, y - 0.64) - 0.13).abs() - 0.06
    d = torch.minimum(torch.minimum(arc, torch.maximum(shaft, y - 0.52)), eye)
    return solid(d, 0.06 + par(p, 3, 0.15, 0.3) * dome(d, w), soft)


def _blade(x: Tensor, y: Tensor, p: Tensor, soft: Tensor) -> Tensor:
    h = par(p, 0, 0.14, 0.26)
    d = torch.maximum(bar(x, y, 0.91, h), (x + y * par(p, 1, 0.6, 2) - 0.7) * 0.6)
    score = edge(repeat(x + 0.5 * y, par(p, 2, 0.2, 0.4)).abs() - 0.012, soft)
    return solid(d, 0.05 + par(p, 3, 0.1, 0.2) * ((y + h) / (h * par(p, 4, 0.4, 0.9))).clamp(0, 1) - 0.04 * score, soft)


def _needle(x: Tensor, y: Tensor, p: Tensor, soft: Tensor) -> Tensor:
    f = par(p, 0, 0.09, 0.14) * (0.55 - 0.5 * x)
    eye = stadium(x + 0.7, y, par(p, 1, 0.06, 0.14)) - par(p, 2, 0.025, 0.04)
    d = torch.maximum(torch.maximum(y.abs() - f, x.abs() - 0.93), -eye)
    return solid(d, 0.05 + par(p, 3, 0.1, 0.25) * bulge(y / f.clamp(min=0.01)), soft)


def _rope(x: Tensor, y: Tensor, p: Tensor, soft: Tensor) -> Tensor:
    h = par(p, 0, 0.16, 0.3)
    strand = torch.sin(x * par(p, 1, 8, 18) - y / h * par(p, 2, 0.8, 1.6)).abs()
    d = torch.maximum(y.abs() - h * (0.8 + 0.2 * strand), x.abs() - 0.9)
    return solid(d, 0.05 + par(p, 3, 0.2, 0.4) * bulge(y / h) * (0.5 + 0.5 * strand), soft)


def _spring(x: Tensor, y: Tensor, p: Tensor, soft: Tensor) -> Tensor:
    # A helix from the side: the front strand is an arc sine of y, the back strand its mirror image half a turn on.
    r, pitch, w = par(p, 0, 0.22, 0.36), par(p, 1, 0.2, 0.3), par(p, 2, 0.035, 0.055)
    lean = torch.asin((y / r).clamp(-1, 1)) * (pitch / (2 * math.pi))
    front = repeat(x - lean, pitch).abs() - w
    back = repeat(x + lean - pitch / 2, pitch).abs() - w
    d = torch.maximum(torch.minimum(front, back), bar(x, y, 0.86, r + w))
    top = torch.maximum(dome(front, w) * (0.1 + par(p, 3, 0.1, 0.3) * bulge(y / (r + w))), 0.05 * dome(back, w))
    return solid(d, 0.06 + top, soft)


def _knot(x: Tensor, y: Tensor, p: Tensor, soft: Tensor) -> Tensor:
    # A strand round a torus k/2 times per turn: going round twice it meets each angle at +wave and at -wave.
    w, (rho, a) = par(p, 0, 0.08, 0.11), polar(x, y)
    a = a * (count(p, 1, 1, 2) + 0.5)
    wave, rho = par(p, 2, 0.18, 0.28) * a.cos(), rho - 0.55
    one, two = (rho - wave).abs() / w, (rho + wave).abs() / w
    lift = 0.1 * a.sin()
    top = torch.maximum(bulge(one) * (0.28 + lift), bulge(two) * (0.28 - lift))
    return solid((torch.minimum(one, two) - 1) * w * 0.8, 0.05 + par(p, 3, 0.7, 1.2) * top, soft)


def _wound_cable(x: Tensor, y: Tensor, p: Tensor, soft: Tensor) -> Tensor:
    core, coil = par(p, 0, 0.08, 0.16), par(p, 1, 0.2, 0.3)
    inner = bar(x, y, par(p, 2, 0.4, 0.65), coil)
    turns = torch.cos(x * par(p, 3, 30, 60) + 2 * y).abs()
    top = torch.maximum(0.2 * bulge(y / core), edge(inner, soft) * bulge(y / coil) * (0.28 + 0.1 * turns))
    return solid(torch.minimum(bar(x, y, 0.93, core), inner), 0.05 + top, soft)


def _bolt(x: Tensor, y: Tensor, p: Tensor, soft: Tensor) -> Tensor:
    w, r = par(p, 0, 0.3, 0.4), par(p, 1, 0.12, 0.2)
    head = bar(x + 0.65, y, 0.2, w)
    thread = torch.cos(x * par(p, 2, 45, 80)) * edge(par(p, 3, -0.3, 0.3) - x, soft)
    d = torch.minimum(head, bar(x - 0.22, y, 0.7, r + 0.02 * thread))
    facets = edge(head, soft) * (0.25 + 0.2 * bevel(y.abs() - w, w * 0.5))
    return solid(d, 0.05 + torch.maximum(facets, 0.3 * bulge(y / (r + 0.03)) * (0.85 + 0.15 * thread)), soft)


def _screw(x: Tensor, y: Tensor, p: Tensor, soft: Tensor) -> Tensor:
    r, w = par(p, 0, 0.1, 0.17), par(p, 1, 0.26, 0.38)
    thread = torch.cos(x * par(p, 2, 35, 60) + 6 * y)
    f = r * ((0.95 - x) / par(p, 3, 0.3, 1)).clamp(0, 1) * (0.85 + 0.15 * thread) + (w - r) * ((-0.55 - x) / 0.3).relu()
    d = torch.maximum(y.abs() - f, bar(x - 0.04, y, 0.9, w))
    return solid(d, 0.05 + (0.15 + f.clamp(max=0.25)) * bulge(y / (f + 0.02)), soft)


def _mushroom(x: Tensor, y: Tensor, p: Tensor, soft: Tensor) -> Tensor:
    b, r = par(p, 0, 0.6, 0.95), par(p, 1, 0.14, 0.3)
    q = ellipse(x, y + 0.1, par(p, 2, 0.75, 0.92), b)
    cap = torch.maximum((q - 1) * 0.7, -0.1 - y)
    stem = bar(x, y + 0.48, r, 0.42)
    top = torch.maximum(edge(cap, soft) * (0.1 + par(p, 3, 0.25, 0.42) * bulge(q)), 0.2 * bulge(x / r))
    return solid(torch.minimum(cap, stem), 0.06 + top, soft)


def _plug(x: Tensor, y: Tensor, p: Tensor, soft: Tensor) -> Tensor:
    body = box(x + 0.05, y, 0.38, par(p, 0, 0.3, 0.45), 0.12)
    pin = bar(x - 0.58, y.abs() - par(p, 1, 0.13, 0.22), par(p, 2, 0.29, 0.33), par(p, 3, 0.04, 0.07))
    cord = bar(x + 0.65, y, 0.28, par(p, 4, 0.05, 0.09))
    top = 0.12 + par(p, 5, 0.15, 0.35) * dome(body, 0.3)
    return solid(torch.minimum(body, torch.minimum(pin, cord)), top, soft)


def _bottle_cap(x: Tensor, y: Tensor, p: Tensor, soft: Tensor) -> Tensor:
    rho, r = torch.hypot(x, y), par(p, 0, 0.62, 0.8)
    emblem = star(x, y, count(p, 1, 3, 6), r * 0.8, r * par(p, 2, 0.3, 0.6))
    top = 0.08 + par(p, 3, 0.1, 0.25) * bevel(rho - 0.94, 0.94 - r) + par(p, 4, 0.03, 0.08) * edge(emblem, soft)
    return solid(rho - 0.94, top, soft)


def _grooved_disc(x: Tensor, y: Tensor, p: Tensor, soft: Tensor) -> Tensor:
    rho, hub = torch.hypot(x, y), par(p, 0, 0.15, 0.4)
    groove = torch.cos(rho * par(p, 1, 15, 45)) * edge(hub - rho, soft)
    d = torch.maximum(rho - 0.94, -bar(x, y, hub * 0.5, hub * par(p, 2, 0.2, 0.5)))
    return solid(d, 0.2 + par(p, 3, 0.03, 0.09) * groove + par(p, 4, 0.05, 0.2) * edge(rho - hub, soft), soft)


def _propeller(x: Tensor, y: Tensor, p: Tensor, soft: Tensor) -> Tensor:
    (u, v), b, rho = fold(x, y, count(p, 0, 2, 5)), par(p, 1, 0.12, 0.24), torch.hypot(x, y)
    hub = rho - par(p, 2, 0.14, 0.25)
    d = torch.minimum((ellipse(u - 0.5, v - par(p, 3, 0, 0.08), 0.4, b) - 1) * b, hub)
    top = torch.maximum(0.18 + par(p, 4, -0.5, 0.5) * v, par(p, 5, 0.3, 0.5) * dome(hub, 0.15))
    return solid(d, top, soft)


def _turbine(x: Tensor, y: Tensor, p: Tensor, soft: Tensor) -> Tensor:
    (rho, a), sector, hub = polar(x, y), 2 * math.pi / count(p, 0, 6, 12), par(p, 1, 0.2, 0.4)
    saw = repeat(a + par(p, 2, -1.5, 1.5) * rho, sector)
    # The gap between two vanes hides the jump of the sawtooth.
    gap = torch.maximum((sector / 2 - saw.abs()) * rho - par(p, 3, 0.03, 0.05), hub - rho)
    vane = torch.maximum(0.2 + par(p, 4, 0.1, 0.24) * saw / sector, par(p, 5, 0.3, 0.5) * edge(rho - hub, soft))
    return solid(torch.maximum(rho - 0.94, -torch.maximum(gap, rho - par(p, 6, 0.86, 1))), vane, soft)


def _shell(x: Tensor, y: Tensor, p: Tensor, soft: Tensor) -> Tensor:
    q = ellipse(x, y, 0.94, par(p, 0, 0.72, 0.9))
    u = x + par(p, 1, 0, 0.25)
    rho, a = polar(u, y)
    ridge = torch.cos(par(p, 2, 5, 12) * torch.log(rho + 0.04) + count(p, 3, 1, 3) * a)
    return solid((q - 1) * 0.8, 0.06 + par(p, 4, 0.3, 0.45) * bulge(q) * (0.85 + 0.15 * ridge), soft)


def _flower(x: Tensor, y: Tensor, p: Tensor, soft: Tensor) -> Tensor:
    k, rho = count(p, 0, 4, 7), torch.hypot(x, y)
    (u, v), b, heart = fold(x, y, k), par(p, 1, 1, 1.5) / k, par(p, 2, 0.18, 0.32)
    q = ellipse(u - 0.5, v, 0.4, b)
    top = torch.maximum(par(p, 3, 0.1, 0.25) * bulge(q), par(p, 4, 0.2, 0.4) * bulge(rho / heart))
    return solid(torch.minimum((q - 1) * b, rho - heart), 0.06 + top, soft)


def _tile(x: Tensor, y: Tensor, p: Tensor, soft: Tensor) -> Tensor:
    d = box(x, y, 0.67, par(p, 0, 0.5, 0.67), 0.04)
    r = par(p, 1, 0.25, 0.45)
    emblem = edge(star(x, y, count(p, 2, 3, 8), r, r * par(p, 3, 0.4, 0.9)), soft)
    frame = edge(-d - par(p, 4, 0.05, 0.12), soft)
    return solid(d, par(p, 5, 0.08, 0.2) + par(p, 6, 0.04, 0.1) * frame + par(p, 7, 0.05, 0.15) * emblem, soft)


def _hazelnut(x: Tensor, y: Tensor, p: Tensor, soft: Tensor) -> Tensor:
    rho, a = polar(x, y)
    q = rho / (par(p, 0, 0.72, 0.8) + 0.14 * torch.exp(a * a * par(p, 1, -9, -4)))
    grain = torch.cos(a * 16) * torch.cos(rho * 30) * edge(x + par(p, 2, 0.25, 0.5), soft)
    top = par(p, 3, 0.35, 0.5) * bulge(q) + 0.03 * edge(x + par(p, 2, 0.25, 0.5), soft) + 0.03 * grain
    return solid((q - 1) * 0.75, 0.06 + top, soft)


def _carrot(x: Tensor, y: Tensor, p: Tensor, soft: Tensor) -> Tensor:
    w = par(p, 0, 0.24, 0.4)
    f = ((0.94 - x) / 1.78).clamp(0.001, 1) ** par(p, 1, 0.5, 1)
    ring = bevel(repeat(x + 0.2 * y, par(p, 2, 0.15, 0.3)).abs() - 0.03, 0.03)
    d = torch.maximum(y.abs() - w * f, (x - 0.055).abs() - 0.885)
    return solid(d, 0.05 + (0.1 + par(p, 3, 0.15, 0.35) * f) * bulge(y / (w * f + 0.01)) - 0.03 * ring, soft)


MADE: tuple[Shape, ...] = (
    Shape(("square flange", "flange with bolt holes"), _square_flange),
    Shape(("triangular flange",), _triangular_flange),
    Shape(("hinge", "hinge plate"), _hinge),
    Shape(("chain link", "anchor chain link"), _chain_link),
    Shape(("button", "sewing button"), _button),
    Shape(("spanner", "wrench"), _spanner),
    Shape(("key", "door key"), _key),
    Shape(("rod", "metal rod"), _rod),
    Shape(("ruler",), _ruler),
    Shape(("fork",), _fork),
    Shape(("paper clip", "bent wire"), _paper_clip),
    Shape(("hook", "eye hook"), _hook),
    Shape(("blade", "knife blade"), _blade),
    Shape(("needle", "sewing needle"), _needle),
    Shape(("rope", "twisted rope"), _rope),
    Shape(("spring", "coil spring"), _spring),
    Shape(("knot", "knotted cord"), _knot),
    Shape(("wound cable", "cable with winding"), _wound_cable),
    Shape(("bolt", "hex bolt"), _bolt),
    Shape(("screw", "wood screw"), _screw),
    Shape(("mushroom",), _mushroom),
    Shape(("plug", "electric plug"), _plug),
    Shape(("bottle cap", "lid"), _bottle_cap),
    Shape(("grooved disc", "pulley"), _grooved_disc),
    Shape(("propeller",), _propeller),
    Shape(("turbine", "fan wheel"), _turbine),
    Shape(("shell", "snail shell"), _shell),
    Shape(("flower", "blossom"), _flower),
    Shape(("tile", "embossed tile"), _tile),
    Shape(("hazelnut",), _hazelnut),
    Shape(("carrot", "ribbed cone"), _carrot),
)
