# SPDX-License-Identifier: Apache-2.0
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from anomalib.data import DepthItem
from PIL import Image

from anomalib_clip3dad.data import EVIDENCE_KINDS, RGBXYZItem
from anomalib_clip3dad.visualization import DepthVisualizer, depth_picture
from tests.conftest import bumpy_part, depth_batch


def test_depth_is_warm_near_cold_far_and_black_where_unmeasured() -> None:
    _, xyz = bumpy_part(60, 80)
    xyz[:, 5, 5] = 0
    picture = np.asarray(depth_picture(xyz)).astype(int)
    assert picture.shape == (60, 80, 3)
    assert not picture[5, 5].any()
    assert picture[30, 40, 0] > picture[30, 40, 2]  # the top of the bump: red over blue
    assert picture[55, 75, 2] > picture[55, 75, 0]  # the plane, though its near corner is nearer than the bump
    assert picture[5, 8, 2] > picture[5, 8, 0]


def test_cloud_without_a_point_is_black() -> None:
    assert not np.asarray(depth_picture(torch.zeros(3, 8, 9))).any()


def test_panel_puts_the_depth_second(tmp_path: Path) -> None:
    image, xyz = bumpy_part(60, 80)
    Image.new("RGB", (80, 60), (10, 200, 30)).save(tmp_path / "a.png")
    item = DepthItem(
        image=image,
        depth_map=xyz,
        gt_mask=torch.zeros(60, 80, dtype=torch.bool),
        anomaly_map=torch.rand(60, 80),
        pred_mask=torch.zeros(60, 80, dtype=torch.bool),
        image_path=str(tmp_path / "a.png"),
    )
    panel = DepthVisualizer(text_config={"enable": False}).panel(item)
    assert panel is not None
    assert panel.height >= 256
    assert panel.width >= 5 * 256  # image, depth, mask, heat map, prediction
    assert np.asarray(panel)[128, 128].tolist() == [10, 200, 30]
    tile = np.asarray(panel.crop((256, 0, 512, 256)))
    expected = np.asarray(depth_picture(xyz).resize((256, 256), Image.Resampling.NEAREST))
    assert (tile == expected).mean() > 0.95


def test_evidence_stands_behind_all_else_one_tile_for_each_kind(tmp_path: Path) -> None:
    image, xyz = bumpy_part(60, 80)
    Image.new("RGB", (80, 60)).save(tmp_path / "a.png")
    evidence = torch.zeros(len(EVIDENCE_KINDS), 60, 80)
    evidence[2, :, 40:] = 9.0
    item = RGBXYZItem(image=image, depth_map=xyz, image_path=str(tmp_path / "a.png"), evidence=evidence)
    panel = DepthVisualizer(text_config={"enable": False}).panel(item)
    assert panel is not None
    tiles = np.asarray(panel)[:256, -4 * 256 :].reshape(256, 4, 256, 3).astype(int).sum(axis=-1)
    assert tiles[128, :, 64].max() < 20
    assert (tiles[128, :, 192] > 500).tolist() == [False, False, True, False]


def test_what_is_on_no_disk_is_drawn_from_the_batch(tmp_path: Path) -> None:
    """A synthetic anomaly has a name, but no file."""
    _, xyz = bumpy_part(60, 80)
    image = torch.tensor([0.0, 1.0, 0.0])[:, None, None].expand(3, 60, 80).clone()
    item = DepthItem(
        image=image, depth_map=xyz, anomaly_map=torch.rand(60, 80), image_path=str(tmp_path / "synthetic/000.png")
    )
    panel = DepthVisualizer(text_config={"enable": False}).panel(item)
    assert panel is not None
    assert np.asarray(panel)[128, 128].tolist() == [0, 255, 0]


def test_one_picture_for_each_sample_of_each_kind(tmp_path: Path) -> None:
    batch = depth_batch(3)
    batch.image_path = [str(tmp_path / f"mvtec/tire/test/{kind}/rgb/000.png") for kind in ("good", "hole", "cut")]
    for path in batch.image_path:
        Path(path).parent.mkdir(parents=True)
        Image.new("RGB", (48, 48)).save(path)
    batch.anomaly_map = torch.rand(3, 48, 48)
    DepthVisualizer().on_test_batch_end(SimpleNamespace(default_root_dir=tmp_path / "out"), None, None, batch, 0)
    pictures = tmp_path / "out" / "images"
    written = sorted(file.relative_to(pictures).as_posix() for file in pictures.rglob("*.png"))
    assert written == ["test/cut/000.png", "test/good/000.png", "test/hole/000.png"]
