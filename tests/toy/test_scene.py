# SPDX-License-Identifier: Apache-2.0
import numpy as np

from anomalib_clip3dad.toy.relief import cell_of
from anomalib_clip3dad.toy.scene import Scene, build_scene, picture, scan

SIZE = (90, 110)


def _scene(seed: int = 0) -> Scene:
    return build_scene("gear", SIZE, [np.random.default_rng([seed, stream]) for stream in range(3)])


def test_remembered_hits_are_those_of_a_fresh_look() -> None:
    scene = _scene()
    copied = scene.part._replace(height=scene.part.height.copy())  # another array: traced anew
    np.testing.assert_array_equal(picture(scene, scene.part), picture(scene, copied))


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
