# SPDX-License-Identifier: Apache-2.0
import numpy as np

from anomalib_clip3dad.toy.outlines import box_depth, circle_of_spots, nearest_spot, rounded, step


def test_box_depth_is_the_distance_to_the_outline() -> None:
    half, corner = (10.0, 6.0), 2.0
    angles = np.linspace(0, 2 * np.pi, 400)
    arc = np.stack([corner * np.cos(angles), corner * np.sin(angles)], axis=1)
    centre = np.array(half) - corner
    edges = np.linspace(-1, 1, 2000)[:, None] * centre
    outline = [np.sign(arc) * centre + arc]
    outline += [np.stack([edges[:, 0], np.full(2000, sign * half[1])], 1) for sign in (-1, 1)]
    outline += [np.stack([np.full(2000, sign * half[0]), edges[:, 1]], 1) for sign in (-1, 1)]
    points = np.random.default_rng(0).uniform(-14, 14, (200, 2))
    distance = np.linalg.norm(points[:, None] - np.concatenate(outline), axis=-1).min(axis=1)
    depth = box_depth(points[:, 0], points[:, 1], half, corner)
    np.testing.assert_allclose(np.abs(depth), distance, atol=0.05)
    assert depth[np.abs(points).max(axis=1) > 10.1].max() < 0
    assert depth[(np.abs(points) < 4).all(axis=1)].min() > 0


def test_rounded_edge_is_a_quarter_circle() -> None:
    depth = np.array([1e-9, 1.0, 2.0])
    np.testing.assert_allclose(rounded(depth, 10.0, 2.0), [8.0, 8.0 + np.sqrt(3), 10.0], atol=1e-3)


def test_step_is_smooth_and_centred() -> None:
    depth = np.array([-3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0])
    np.testing.assert_allclose(step(depth, 2.0), [0, 0, 5 / 32, 0.5, 27 / 32, 1, 1])


def test_spots_lie_on_their_circle() -> None:
    spots = circle_of_spots(5, 12.0, 0.3)
    np.testing.assert_allclose(spots[0], (12 * np.cos(0.3), 12 * np.sin(0.3)))
    np.testing.assert_allclose(np.hypot(*np.array(spots).T), 12.0)
    x, y = np.array(spots[3])[:, None] * (1 + 5 / 12)
    np.testing.assert_allclose(nearest_spot(x, y, spots), 5)
