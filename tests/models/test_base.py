# SPDX-License-Identifier: Apache-2.0
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from anomalib_clip3dad.data import Intrinsics
from anomalib_clip3dad.errors import InputError
from anomalib_clip3dad.models import Btf, Clip3dAd, GsClip
from tests.conftest import bumpy_part

SIZE = (60, 80)


@pytest.fixture
def model(tiny_clip: str) -> Clip3dAd:
    made = Clip3dAd(tiny_clip, None, "tire", layers=[1, 3], views=[5, 9], visualizer=False)
    made.post_processor._image_threshold.fill_(1.0)
    made.post_processor._pixel_threshold.fill_(0.5)
    return made


def part() -> tuple[torch.Tensor, torch.Tensor]:
    """An image of whole 255ths, as files hold it, and a cloud."""
    image, xyz = bumpy_part(*SIZE)
    return (255 * image).round() / 255, xyz


def pixels(image: torch.Tensor) -> np.ndarray:
    return (255 * image).round().to(torch.uint8).permute(1, 2, 0).numpy()


def points(xyz: torch.Tensor) -> np.ndarray:
    return xyz.permute(1, 2, 0).numpy()


def as_files(image: torch.Tensor, xyz: torch.Tensor, folder: Path) -> tuple[Any, Any]:
    Image.fromarray(pixels(image)).save(folder / "a.png")
    np.save(folder / "a.npy", points(xyz))
    return str(folder / "a.png"), folder / "a.npy"


FORMS = {
    "tensors": lambda image, xyz, _: (image, xyz),
    "arrays of bytes": lambda image, xyz, _: (pixels(image), points(xyz)),
    "arrays of floats": lambda image, xyz, _: (pixels(image) / 255, points(xyz).astype(np.float64)),
    "not measured is NaN": lambda image, xyz, _: (image, xyz.where(xyz[2] > 0, torch.nan)),
    "files": as_files,
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_answer_of_forward(model: Clip3dAd, tmp_path: Path, form: str) -> None:
    image, xyz = part()
    with torch.no_grad():
        expected = model.eval()(image[None], xyz[None])
    found = model.train().predict(*FORMS[form](image, xyz, tmp_path))
    assert model.training
    for field in ("pred_score", "anomaly_map", "pred_label", "pred_mask"):
        torch.testing.assert_close(getattr(found, field), getattr(expected, field), atol=1e-6, rtol=0)
    assert found.image.shape == found.depth_map.shape == (1, 3, *SIZE)
    assert found.image_path == ([str(tmp_path / "a.png")] if form == "files" else None)


def test_depth_with_a_camera(model: Clip3dAd, tmp_path: Path) -> None:
    image, xyz = part()
    focal = 80 / 0.4, 60 / 0.4
    camera = Intrinsics(*focal, cx=39.5, cy=29.5)
    (tmp_path / "camera.json").write_text('{"fx": 200, "fy": 150, "cx": 39.5, "cy": 29.5}')
    expected = model.predict(image, xyz)
    for given in (camera, tmp_path / "camera.json"):
        found = model.predict(image, xyz[2].numpy(), given)
        torch.testing.assert_close(found.pred_score, expected.pred_score, atol=1e-3, rtol=0)
        torch.testing.assert_close(found.depth_map, expected.depth_map, atol=1e-6, rtol=0)


def test_without_a_threshold_there_is_no_verdict(tiny_clip: str) -> None:
    found = Clip3dAd(tiny_clip, None, "tire", layers=[1, 3], views=[5], visualizer=False).predict(*part())
    assert found.pred_label is None
    assert found.pred_mask is None
    assert found.pred_score.shape == (1,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda i, x: (255 * i, x), "image: found floats from 0 to 255; RGB in"),
        (lambda i, x: (i[0], x), r"image: found Tensor \(60, 80\); give a file"),
        (lambda i, x: (i.numpy(), x), r"image: found ndarray \(3, 60, 80\); give a file"),
        (lambda _, x: (None, x), "image: found NoneType; give a file"),
        (lambda i, _: (i, None), "xyz: found NoneType; give a file"),
        (lambda i, x: (i, x[2]), r"xyz: found Tensor \(60, 80\); give a file"),
        (lambda i, x: (i, x[2].numpy()), r"xyz: found one-channel depth \(60, 80\).* intrinsics"),
        (lambda i, x: (i, x.numpy()), "xyz: found .* channels first"),
        (lambda i, x: (i, 1000 * x), "xyz: half of the points are over 4.. m away; XYZ must be metres"),
        (lambda i, x: (i, 0 * x), "xyz: no measured point"),
        (lambda i, x: (i, x[:, ::2]), "image has H x W = 60 x 80 but xyz has 30 x 80"),
        (lambda _, x: ("nowhere.png", x), r"nowhere\.png: no such image"),
        (lambda i, _: (i, "nowhere.tiff"), r"nowhere\.tiff: no such 3D file"),
    ],
)
def test_wrong_input_is_named(model: Clip3dAd, change: Any, message: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        model.predict(*change(*part()))


@pytest.mark.parametrize("kind", [Clip3dAd, GsClip, Btf])
def test_half_precision_for_everything_is_refused(kind: Any, tiny_clip: str) -> None:
    of_clip = {"clip_model": tiny_clip, "pretrained": None}
    own = {Clip3dAd: of_clip | {"views": []}, GsClip: of_clip | {"vv_from": None}, Btf: {"mode": "fpfh"}}[kind]
    model = kind(visualizer=False, **own)
    model._trainer = SimpleNamespace(datamodule=None, precision="bf16-true")
    with pytest.raises(InputError, match="use bf16-mixed"):
        model.setup("fit")


def test_without_a_limit_a_training_takes_the_models_number_of_steps(tiny_clip: str) -> None:
    loop = SimpleNamespace(max_steps=-1)
    model = GsClip(tiny_clip, None, vv_from=None, stage1_steps=7, stage2_steps=4, visualizer=False)

    def setup(stage: str, **limits: int) -> int:
        loop.max_steps = -1
        fit_loop = SimpleNamespace(epoch_loop=loop)
        given = {"max_steps": -1, "max_epochs": 1000} | limits
        model._trainer = SimpleNamespace(precision="32-true", fit_loop=fit_loop, **given)
        model.setup(stage)
        return loop.max_steps

    assert setup("fit") == 11
    assert setup("test") == setup("fit", max_steps=3) == setup("fit", max_epochs=2) == -1
