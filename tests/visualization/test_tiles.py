# SPDX-License-Identifier: Apache-2.0
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from anomalib.data import DepthItem
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from anomalib_clip3dad.data import RGBXYZItem
from anomalib_clip3dad.visualization.tiles import shown_image, tiles_of
from tests.conftest import bumpy_part

HIGH, WIDE = 60, 80


def sample(**changes: Any) -> RGBXYZItem:
    image, xyz = bumpy_part(HIGH, WIDE)
    mask = torch.zeros(HIGH, WIDE, dtype=torch.bool)
    mask[20:30, 40:60] = True
    usual = {
        "image": image,
        "depth_map": xyz,
        "gt_mask": mask,
        "anomaly_map": torch.rand(30, 40),
        "pred_mask": torch.ones(30, 40, dtype=torch.bool),
        "evidence": torch.rand(4, 30, 40),
    }
    return RGBXYZItem(**usual | changes)


def drawn(item: DepthItem, title: str) -> tuple[Axes, Any]:
    """The place that a tile was drawn into, and what the tile returned."""
    place = Figure().subplots()
    (tile,) = [tile for tile in tiles_of(item) if tile.title == title]
    return place, tile.draw(place)


def test_there_is_a_tile_for_what_a_sample_has() -> None:
    kinds = [f"evidence: {kind}" for kind in ("words", "colour", "geometry", "missing")]
    assert [tile.title for tile in tiles_of(sample())] == ["image", "depth", "truth", "anomaly map", *kinds]
    views = torch.rand(2, 3, 8, 8)
    assert [tile.title for tile in tiles_of(sample(), views)][-2:] == ["view 1", "view 2"]
    bare = DepthItem(image=torch.rand(3, 8, 8), depth_map=torch.zeros(3, 8, 8))
    assert [tile.title for tile in tiles_of(bare)] == ["image"]
    normal = sample(gt_mask=torch.zeros(HIGH, WIDE, dtype=torch.bool), evidence=None)
    assert "truth: no defect" in [tile.title for tile in tiles_of(normal)]


def test_the_image_shows_through_where_the_map_is_low() -> None:
    anomaly_map = torch.zeros(30, 40)
    anomaly_map[:, 20:] = 1.0
    place, scale = drawn(sample(anomaly_map=anomaly_map), "anomaly map")
    grey, heat = place.images
    assert grey.get_array().shape == (HIGH, WIDE)
    assert (heat.get_array()[:, :20, 3] == 0).all()
    assert (heat.get_array()[:, 20:, 3] > 0.8).all()
    assert tuple(heat.get_extent()) == (-0.5, WIDE - 0.5, HIGH - 0.5, -0.5)
    assert scale.colours.get_clim() == (0, 1)


@pytest.mark.parametrize("strange", [torch.inf, torch.nan])
def test_raw_maps_have_their_own_scale(strange: float) -> None:
    raw = torch.linspace(-2, 6, 1200).reshape(30, 40)
    raw[0, 0] = strange
    _, scale = drawn(sample(anomaly_map=raw), "anomaly map")
    assert scale.colours.get_clim() == pytest.approx((-2, 6), abs=0.01)


def test_outlines_follow_the_masks_in_the_image_s_pixels() -> None:
    place, _ = drawn(sample(), "truth")
    line = np.concatenate([path.vertices for path in place.collections[0].get_paths()])
    assert line.min(axis=0) == pytest.approx([39.5, 19.5])
    assert line.max(axis=0) == pytest.approx([59.5, 29.5])
    place, _ = drawn(sample(), "anomaly map")  # all of it is above the threshold
    line = np.concatenate([path.vertices for path in place.collections[0].get_paths()])
    assert line.min(axis=0) == pytest.approx([0, 0], abs=0.6)
    assert line.max(axis=0) == pytest.approx([WIDE - 1, HIGH - 1], abs=0.6)


def test_depth_is_in_metres_and_of_the_part_alone() -> None:
    place, scale = drawn(sample(), "depth")
    assert scale.label == "height above the plane, m"
    assert np.ma.masked_invalid(place.images[0].get_array()).mask[2, 2]
    low, high = place.images[0].get_clim()
    assert 0 < low < high < 0.031


def test_all_kinds_of_evidence_have_one_scale() -> None:
    item = sample(evidence=torch.stack([torch.full((30, 40), float(n)) for n in range(4)]))
    limits = {drawn(item, f"evidence: {kind}")[1].colours.get_clim() for kind in ("words", "missing")}
    assert limits == {(0, 3)}


def test_the_file_is_shown_at_its_own_size_if_it_can_be_read(tmp_path: Path) -> None:
    Image.new("RGB", (160, 120), (10, 200, 30)).save(tmp_path / "a.png")
    found = shown_image(sample(image_path=str(tmp_path / "a.png")))
    assert found.shape == (120, 160, 3)
    assert found[5, 5] * 255 == pytest.approx([10, 200, 30])
    transparent = Image.new("RGBA", (160, 120), (10, 200, 30, 0))
    transparent.putpixel((0, 0), (0, 0, 0, 255))
    transparent.save(tmp_path / "b.png")
    for name in ("b.png", "synthetic/000.png"):
        item = sample(image_path=str(tmp_path / name))
        assert np.allclose(shown_image(item), item.image.permute(1, 2, 0))


def test_unorganised_points_are_seen_from_two_sides() -> None:
    xyz = torch.randn(3, 1, 40)
    xyz[:, :, 30:] = 0
    scores = torch.rand(1, 40)
    item = DepthItem(image=torch.full((3, 8, 8), 0.5), depth_map=xyz, anomaly_map=scores)
    tiles = list(tiles_of(item))
    assert [tile.title for tile in tiles] == [f"{name}, seen along {axis}" for name in ("z", "score") for axis in "zy"]
    for tile, (across, up, along) in zip(tiles[2:], ((0, 1, 2), (0, 2, 1)), strict=True):
        place = Figure().add_subplot()
        tile.draw(place)
        (drawn,) = place.collections
        order = xyz[along, 0, :30].argsort()
        np.testing.assert_allclose(drawn.get_offsets(), xyz[[across, up], 0][:, order].T.numpy(), rtol=1e-6)
        np.testing.assert_allclose(drawn.get_array(), scores[0, order].numpy(), rtol=1e-6)
