# SPDX-License-Identifier: Apache-2.0
"""The defects: edits of a part's height map, of its colour map, or of both at the same place.

Each takes a random generator, the part, a centre (x, y) in part millimetres and an area in square millimetres, and
returns the edited part. Depths are 3 to 7.5 mm at the deepest point, far above unevenness and sensor noise.
"""

from collections.abc import Callable

import numpy as np

from anomalib_clip3dad.toy.materials import linear, mix
from anomalib_clip3dad.toy.noise import noise
from anomalib_clip3dad.toy.outlines import step
from anomalib_clip3dad.toy.patches import blob, rim, stroke
from anomalib_clip3dad.toy.relief import Field, Relief

Defect = Callable[[np.random.Generator, Relief, tuple[float, float], float], Relief]
Point = tuple[float, float]

_STRANGE_COLOURS = ((0.10, 0.09, 0.09), (0.12, 0.30, 0.70), (0.15, 0.52, 0.25), (0.75, 0.12, 0.15), (0.93, 0.92, 0.88))


def _raise(part: Relief, by: Field) -> Relief:
    """Move the surface; the table stays, and the part keeps a height of at least 0.5 mm, so that its outline stays."""
    return part._replace(height=np.where(part.height > 0, np.maximum(part.height + by, 0.5), 0).astype(np.float32))


def _paint(part: Relief, colour: Field, weight: Field) -> Relief:
    return part._replace(albedo=mix(part.albedo, colour, weight))


def _local_colour(part: Relief, patch: Field) -> Field:
    inside = (patch > 0) & (part.height > 0)
    return part.albedo[inside].mean(axis=0) if inside.any() else part.albedo[part.height > 0].mean(axis=0)


def _contrast(rng: np.random.Generator, part: Relief, patch: Field) -> Field:
    """A colour that differs clearly from the one under the patch."""
    here = _local_colour(part, patch) ** (1 / 2.2)
    far = [c for c in _STRANGE_COLOURS if np.abs(here - np.array(c)).max() > 0.3]
    return linear(np.clip(np.array(far[rng.integers(len(far))]) + rng.uniform(-0.05, 0.05, 3), 0.02, 0.98).tolist())


def dent(rng: np.random.Generator, part: Relief, centre: Point, area: float) -> Relief:
    """A smooth hollow, as from a blow."""
    return _raise(part, -rng.uniform(3, 7.5) * step(blob(rng, centre, 1.6 * area) - 0.3, 0.75))


def bump(rng: np.random.Generator, part: Relief, centre: Point, area: float) -> Relief:
    """A smooth swelling."""
    return _raise(part, rng.uniform(3, 7.5) * step(blob(rng, centre, 1.6 * area) - 0.3, 0.75))


def gouge(rng: np.random.Generator, part: Relief, centre: Point, area: float) -> Relief:
    """A long groove with a round floor."""
    profile = np.sqrt(np.clip(stroke(rng, centre, area, rng.uniform(4, 6), 2.0), 0, 1))
    return _raise(part, -rng.uniform(3, 5.5) * profile)


def cut(rng: np.random.Generator, part: Relief, centre: Point, area: float) -> Relief:
    """The outer end of the part lies lower, as if sawn or broken off; the floor is a little rough."""
    del centre  # the rim has a place of its own
    floor = rng.uniform(4, 6.7) + 0.25 * noise(rng, 1.5, 10)
    return _raise(part, -floor * step(rim(rng, part.height, 1.4 * area), 0.04))


def bend(rng: np.random.Generator, part: Relief, centre: Point, area: float) -> Relief:
    """The outer end of the part bends up or down."""
    del centre
    reach = np.clip(rim(rng, part.height, 1.4 * area), 0, 1)
    return _raise(part, rng.choice([-1.0, 1.0]) * rng.uniform(5, 7.5) * reach**0.8)


def stain(rng: np.random.Generator, part: Relief, centre: Point, area: float) -> Relief:
    """A soaked-in spot, darker at its edge, the texture shows through."""
    patch = blob(rng, centre, area, ragged=0.2)
    edge = 0.15 * np.exp(-((patch / 0.12) ** 2))
    tint = part.albedo * linear(rng.uniform([0.30, 0.22, 0.18], [0.55, 0.42, 0.40]).tolist())
    return _paint(part, tint, step(patch, 0.15) * (rng.uniform(0.75, 0.85) + edge))


def scratch(rng: np.random.Generator, part: Relief, centre: Point, area: float) -> Relief:
    """A thin line, dark on pale parts and pale on dark ones."""
    patch = stroke(rng, centre, 0.5 * area, rng.uniform(1.6, 2.2), 1.2)
    pale = _local_colour(part, patch).mean() < 0.16
    return _paint(part, linear((0.95, 0.95, 0.92) if pale else (0.10, 0.09, 0.09)), 0.9 * step(patch, 0.5))


def wrong_colour(rng: np.random.Generator, part: Relief, centre: Point, area: float) -> Relief:
    """A sharp-edged patch of a colour that does not belong there."""
    patch = blob(rng, centre, area, ragged=0.05)
    colour = _contrast(rng, part, patch) * (1 + 0.06 * noise(rng, 1.0, 8))[..., None]
    return _paint(part, np.clip(colour, 0, 1), 0.92 * step(patch, 0.05))


def crack(rng: np.random.Generator, part: Relief, centre: Point, area: float) -> Relief:
    """A jagged line, dark and deep."""
    patch = stroke(rng, centre, 0.7 * area, rng.uniform(2.8, 3.6), 3.0)
    deep = _raise(part, -rng.uniform(3, 5.5) * step(patch - 0.25, 0.5))
    return _paint(deep, linear((0.07, 0.06, 0.06)), 0.9 * step(patch - 0.15, 0.4))


def lump(rng: np.random.Generator, part: Relief, centre: Point, area: float) -> Relief:
    """A foreign object stuck to the surface."""
    patch = blob(rng, centre, area, ragged=0.15)
    dome = np.sqrt(np.clip(patch * (2 - patch), 0, 1)) * (1 + 0.12 * noise(rng, 1.5, 6))
    raised = _raise(part, rng.uniform(3, 6) * np.clip(dome, 0, 1.2))
    colour = _contrast(rng, part, patch) * (1 + 0.10 * noise(rng, 0.8, 6))[..., None]
    return _paint(raised, np.clip(colour, 0, 1), step(patch, 0.04))


def chip(rng: np.random.Generator, part: Relief, centre: Point, area: float) -> Relief:
    """A piece broken out: a rough floor that shows the raw material inside."""
    patch = blob(rng, centre, area, ragged=0.18)
    floor = rng.uniform(3, 6.5) * (1 + 0.12 * noise(rng, 1.0, 8))
    broken = _raise(part, -np.clip(floor, 0, 7.5) * step(patch - 0.08, 0.16))
    pale = _local_colour(part, patch).mean() < 0.25
    raw = linear((0.92, 0.88, 0.80) if pale else (0.30, 0.22, 0.17)) * (1 + 0.12 * noise(rng, 0.8, 5))[..., None]
    return _paint(broken, np.clip(raw, 0, 1), step(patch, 0.06))


DEFECTS: dict[str, tuple[Defect, ...]] = {
    "geometry": (dent, bump, gouge, cut, bend),
    "colour": (stain, scratch, wrong_colour),
    "combined": (crack, lump, chip),
}
