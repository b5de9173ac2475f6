# SPDX-License-Identifier: Apache-2.0
"""The same part in each accepted form: the same cloud, the same score."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from plyfile import PlyData, PlyElement

from anomalib_clip3dad.data import Folder3DXYZ
from anomalib_clip3dad.models import Clip3dAd
from anomalib_clip3dad.toy import toy_camera, write_toy3d

pytestmark = pytest.mark.slow

SIZE = (120, 160)
CAMERA = toy_camera(SIZE)._asdict()


@pytest.fixture(scope="module")
def part(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("toy")
    write_toy3d(root, "knob", size=SIZE, train=0, validation=0, good=0, defects=1, progress=False)
    return root / "knob/test/combined"


@pytest.fixture(scope="module")
def model() -> Clip3dAd:
    return Clip3dAd("ViT-Ti-Lite0-16-240", "small", "knob", post_processor=False, visualizer=False)


def write_depth(folder: Path, xyz: np.ndarray) -> None:
    """Hundredths of millimetres in 16 bit. (Tenths move some points to other pixels of the views: score + 0.002.)"""
    Image.fromarray(np.rint(1e5 * xyz[..., 2]).astype(np.uint16)).save(folder / "depth/000.png")
    (folder / "intrinsics.json").write_text(json.dumps(CAMERA | {"depth_scale": 0.01, "unit": "mm"}))


def write_cloud(folder: Path, xyz: np.ndarray) -> None:
    """Loose points in millimetres, in any order."""
    points = np.random.default_rng(0).permutation(1000 * xyz[xyz[..., 2] > 0])
    rows = np.array([tuple(point) for point in points], dtype=[(axis, "f4") for axis in "xyz"])
    PlyData([PlyElement.describe(rows, "vertex")]).write(str(folder / "cloud/000.ply"))
    (folder / "intrinsics.json").write_text(json.dumps(CAMERA | {"unit": "mm"}))


FORMS: dict[str, tuple[str, Callable[[Path, np.ndarray], object]]] = {
    "XYZ tiff": ("xyz", lambda f, xyz: tifffile.imwrite(f / "xyz/000.tiff", xyz, photometric="rgb")),
    "XYZ npy": ("xyz", lambda f, xyz: np.save(f / "xyz/000.npy", xyz)),
    "depth png": ("depth", write_depth),
    "ply": ("cloud", write_cloud),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_same_cloud_and_score(part: Path, tmp_path: Path, model: Clip3dAd, form: str) -> None:
    xyz, picture = tifffile.imread(part / "xyz/000.tiff"), Image.open(part / "rgb/000.png")
    expected = model.predict(part / "rgb/000.png", part / "xyz/000.tiff")
    name, write = FORMS[form]
    for folder in ("rgb", name):
        (tmp_path / folder).mkdir()
    picture.save(tmp_path / "rgb/000.png")
    write(tmp_path, xyz)
    data = Folder3DXYZ(tmp_path, k_shot=1, val_split_mode="none", test_split_mode="none")
    data.setup()
    item = data.train_data[0]
    assert (item.depth_map[2] > 0).sum() == (xyz[..., 2] > 0).sum()
    torch.testing.assert_close(item.depth_map.permute(1, 2, 0), torch.from_numpy(xyz), atol=1e-4, rtol=0)
    found = model.predict(item.image.as_subclass(torch.Tensor), item.depth_map)
    torch.testing.assert_close(found.pred_score, expected.pred_score, atol=1e-3, rtol=0)
    assert expected.anomaly_map.std() > 0.01  # the score is of something
