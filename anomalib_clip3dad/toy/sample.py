# SPDX-License-Identifier: Apache-2.0
"""A toy sample, normal or with one defect."""

from typing import NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from anomalib_clip3dad.errors import InputError
from anomalib_clip3dad.toy.defects import DEFECTS
from anomalib_clip3dad.toy.parts import check_category
from anomalib_clip3dad.toy.patches import blob
from anomalib_clip3dad.toy.relief import CELL_MM, Mask, Relief
from anomalib_clip3dad.toy.scene import Scene, build_scene, picture, scan, seen
from anomalib_clip3dad.toy.tracing import trace

KINDS: tuple[str, ...] = ("good", *DEFECTS, "missing")
SMALLEST_SIDE = 64  # pixels: below this a scratch is thinner than half a pixel
GEOMETRY_STEP = 0.001  # metres: smallest change of z that counts as different, about eight times the scanner's noise
COLOUR_STEP = 14  # grey levels of 255: smallest change in any channel that counts, about nine times the grain
AREA_RANGE = (0.005, 0.06)  # share of the part's pixels that a defect covers

_DRAWN_AREA = (0.012, 0.045)  # narrower, since slopes and the silhouette change the visible area of a patch
_ATTEMPTS = 60


class ToySample(NamedTuple):
    """Output of camera and scanner, with ground truth.

    Args:
        rgb: (H, W, 3) uint8.
        xyz: (H, W, 3) float32, metres, camera frame (x right, y down, z forward), (0, 0, 0) = not measured.
        mask: (H, W) bool, true where the sample differs from its flawless twin.
    """

    rgb: NDArray[np.uint8]
    xyz: NDArray[np.float32]
    mask: Mask


def toy_sample(
    category: str,
    kind: str,
    seed: int = 0,
    *,
    split: str = "test",
    index: int = 0,
    size: tuple[int, int] = (240, 240),
    flawless: bool = False,
) -> ToySample:
    """Make one sample; the same arguments always give the same bytes.

    Args:
        category: One of ``CATEGORIES``.
        kind: "good", "geometry" (XYZ only), "colour" (RGB only), "combined" (both in one place) or "missing" (points
            not measured).
        seed: Seed of the whole data set, >= 0.
        split: "train", "validation" or "test"; part of the seed.
        index: Number of the sample in its folder, >= 0; part of the seed.
        size: (height, width) in pixels, at least 64 each.
        flawless: Leave the defect out: the same part with the same light and sensor noise.

    Returns:
        The sample; the mask is empty for "good" and for ``flawless``.

    Raises:
        ValueError: If category or kind is unknown, or the size too small.

    Example:
        >>> sample = toy_sample("gear", "geometry", size=(96, 128))
        >>> sample.rgb.shape, sample.xyz.dtype.name, bool(sample.mask.any())
        ((96, 128, 3), 'float32', True)
    """
    check_category(category)
    _check_kind(kind)
    check_size(size)
    *streams, of_defect = _streams(seed, category, split, kind, index)
    scene = build_scene(category, size, streams)
    twin = ToySample(picture(scene, scene.part), scan(scene, scene.hit.z), np.zeros(size, dtype=bool))
    if kind == "good" or flawless:
        return twin
    for _ in range(_ATTEMPTS):
        sample = _spoil(scene, twin, kind, index, of_defect)
        if _has_right_area(sample.mask, scene):
            return sample
    msg = f"No {kind} defect of the right area fits {category!r} at size {size}; choose a larger size or another seed."
    raise InputError(msg)


def check_size(size: tuple[int, int]) -> None:
    """Raise if images are too small to show a defect.

    Args:
        size: (height, width) in pixels.

    Raises:
        ValueError: If a side is shorter than ``SMALLEST_SIDE``.
    """
    if min(size) < SMALLEST_SIDE:
        msg = f"Toy3D needs size (height, width) of at least {SMALLEST_SIDE} pixels each, got {size}."
        raise InputError(msg)


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        msg = f"Toy3D has no kind {kind!r}; choose one of {', '.join(KINDS)}."
        raise InputError(msg)


def _streams(seed: int, category: str, split: str, kind: str, index: int) -> list[np.random.Generator]:
    """Random generators of part, scene, shot and defect, seeded by checksums of the names, not their order."""
    names = [crc32(name.encode()) for name in (category, split, kind)]
    children = np.random.SeedSequence([seed, *names, index]).spawn(4)
    return [np.random.default_rng(child) for child in children]


def _has_right_area(mask: Mask, scene: Scene) -> bool:
    """Whether the mask has the right area, and enough of it is measured and not in the scanner's shadow."""
    part = np.count_nonzero(scene.on_part)
    measured = np.count_nonzero(mask & ~scene.holes)
    return bool(measured >= AREA_RANGE[0] * part and np.count_nonzero(mask) <= AREA_RANGE[1] * part)


def _spoil(scene: Scene, twin: ToySample, kind: str, index: int, rng: np.random.Generator) -> ToySample:
    """Add a defect to the twin where the camera sees it; the caller checks its area."""
    spot = rng.choice(np.flatnonzero(scene.on_part & ~scene.holes))
    centre = float(scene.hit.x.flat[spot]), float(scene.hit.y.flat[spot])
    footprint = np.count_nonzero(scene.part.height) * CELL_MM**2
    area = float(footprint * rng.uniform(*_DRAWN_AREA))
    if kind == "missing":
        mask = seen((blob(rng, centre, area) > 0) & (scene.part.height > 0), scene.hit)
        return ToySample(twin.rgb, np.where(mask[..., None], np.float32(0), twin.xyz), mask)
    defect = DEFECTS[kind][index % len(DEFECTS[kind])]  # in turn, so that a small data set has all of them
    spoiled = defect(rng, scene.part, centre, area)
    if not _has_right_area(seen(_edited(scene.part, spoiled), scene.hit), scene):
        return twin  # cheaper than to render a patch that mostly misses the part
    return _shoot(scene, twin, kind, spoiled)


def _edited(before: Relief, after: Relief) -> Mask:
    """Cells whose height or colour changed enough to be seen, (CELLS, CELLS)."""
    painted = np.abs(np.sqrt(after.albedo) - np.sqrt(before.albedo)).max(axis=-1) > 0.08
    return (np.abs(after.height - before.height) > 1) | (painted & (before.height > 0))


def _shoot(scene: Scene, twin: ToySample, kind: str, spoiled: Relief) -> ToySample:
    """Render only what this kind of defect may change; the rest equals the twin byte for byte."""
    rgb, xyz, mask = twin
    if kind != "colour":
        depth = trace(spoiled.height, scene.pose, scene.rays).z
        xyz, mask = scan(scene, depth), np.abs(depth - scene.hit.z) > GEOMETRY_STEP
    if kind != "geometry":
        rgb = picture(scene, spoiled)
        mask = mask | (np.abs(rgb.astype(np.int16) - twin.rgb).max(axis=-1) > COLOUR_STEP)
    return ToySample(rgb, xyz, mask)
