# SPDX-License-Identifier: Apache-2.0
"""Building blocks of the shapes: how deep a point lies inside an outline, and edges made from that depth."""

import numpy as np

from anomalib_clip3dad.toy.relief import Field


def box_depth(x: Field, y: Field, half: tuple[float, float], corner: float) -> Field:
    """Depth inside a rectangle with round corners, centred on the origin.

    Args:
        x: (...) millimetres.
        y: (...) millimetres.
        half: Half width and half height in millimetres.
        corner: Radius of the corners in millimetres.

    Returns:
        (...) distance to the outline in millimetres, positive inside, negative outside.

    Example:
        >>> float(box_depth(np.array(0.0), np.array(3.0), (10.0, 5.0), 1.0))
        2.0
    """
    over_x, over_y = np.abs(x) - half[0] + corner, np.abs(y) - half[1] + corner
    outside = np.hypot(np.maximum(over_x, 0), np.maximum(over_y, 0))
    return corner - outside - np.minimum(np.maximum(over_x, over_y), 0)


def rounded(depth: Field, top: Field | float, fillet: float) -> Field:
    """Height of a body with vertical walls whose upper edge is rounded off.

    Args:
        depth: (...) depth inside the outline in millimetres.
        top: Height of the body in millimetres, a number or (...).
        fillet: Radius of the rounding in millimetres.

    Returns:
        (...) height in millimetres, 0 outside the outline.

    Example:
        >>> rounded(np.array([-1.0, 2.0, 9.0]), 20.0, 2.0).tolist()
        [0.0, 20.0, 20.0]
    """
    rest = np.clip(fillet - depth, 0, fillet)
    return np.where(depth > 0, top - fillet + np.sqrt(fillet**2 - rest**2), 0)


def step(depth: Field, width: float) -> Field:
    """Smooth step across an outline.

    Args:
        depth: (...) depth inside the outline in millimetres.
        width: Width of the transition in millimetres, centred on the outline.

    Returns:
        (...) in [0, 1], 1 inside.

    Example:
        >>> step(np.array([-1.0, 0.0, 1.0]), 2.0).tolist()
        [0.0, 0.5, 1.0]
    """
    ramp = np.clip(depth / width + 0.5, 0, 1)
    return ramp * ramp * (3 - 2 * ramp)


def nearest_spot(x: Field, y: Field, spots: list[tuple[float, float]]) -> Field:
    """Distance to the nearest of some spots.

    Args:
        x: (...) millimetres.
        y: (...) millimetres.
        spots: Centres (x, y) in millimetres.

    Returns:
        (...) millimetres.

    Example:
        >>> float(nearest_spot(np.array(3.0), np.array(4.0), [(0.0, 0.0), (30.0, 0.0)]))
        5.0
    """
    squared = np.full_like(x, np.inf)
    for spot_x, spot_y in spots:
        np.minimum(squared, (x - spot_x) ** 2 + (y - spot_y) ** 2, out=squared)
    return np.sqrt(squared)


def circle_of_spots(count: int, radius: float, start: float = 0.0) -> list[tuple[float, float]]:
    """Spots spread evenly over a circle.

    Args:
        count: How many.
        radius: Radius of the circle, millimetres.
        start: Angle of the first one, radians.

    Returns:
        Centres (x, y) in millimetres.

    Example:
        >>> circle_of_spots(1, 5.0)
        [(5.0, 0.0)]
    """
    angles = start + 2 * np.pi * np.arange(count) / count
    return [(float(radius * np.cos(a)), float(radius * np.sin(a))) for a in angles]
