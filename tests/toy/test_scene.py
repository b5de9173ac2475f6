# SPDX-License-Identifier: Apache-2.0
import numpy as np

from anomalib_clip3dad.toy.relief import cell_of
from anomalib_clip3dad.toy.scene import Scene, build_scene, picture, scan, seen

SIZE = (90, 110)


def _scene(seed: int = 0) -> Scene:
    return build_scene("gear", SIZE, [np.random.default_rng([seed, stream]) for stream in range(3)])


def test_everything_has_the_pictures_size() -> None:
    scene = _scene()
    assert scene.hit.z.shape == scene.holes.shape == scene.on_part.shape == SIZE
    assert scene.fine_hit.z.shape == (180, 220)
    assert picture(scene, scene.part).shape == (*SIZE, 3)


def test_remembered_hits_are_those_of_a_fresh_look() -> None:
    scene = _scene()
    copied = scene.part._replace(height=scene.part.height.copy())  # another array: traced anew
    np.testing.assert_array_equal(picture(scene, scene.part), picture(scene, copied))


def test_seen_carries_cells_into_the_picture() -> None:
    scene = _scene()
    np.testing.assert_array_equal(seen(scene.part.height > 0, scene.hit), scene.on_part)
    assert not seen(np.zeros_like(scene.part.height, dtype=bool), scene.hit).any()


def test_scan_leaves_the_holes_empty() -> None:
    scene = _scene()
    xyz = scan(scene, scene.hit.z)
    np.testing.assert_array_equal((xyz == 0).all(axis=-1), scene.holes)
    np.testing.assert_allclose(xyz[..., 2][~scene.holes], scene.hit.z[~scene.holes], atol=0.001)


def test_table_goes_on_beyond_the_patch() -> None:
    scene = build_scene("gear", (64, 160), [np.random.default_rng(stream) for stream in range(3)])
    inside = cell_of(scene.hit.x, scene.hit.y)[2]
    beyond = ~inside
    near = inside & ~scene.on_part & (np.hypot(scene.hit.x, scene.hit.y) > 72)
    rgb = picture(scene, scene.part)
    assert beyond.sum() > 1000
    np.testing.assert_allclose(rgb[beyond].mean(axis=0), rgb[near].mean(axis=0), rtol=0.1)
    assert rgb[beyond].std() < 20
