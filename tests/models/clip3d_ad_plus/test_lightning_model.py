# SPDX-License-Identifier: Apache-2.0
"""The model in anomalib's Engine on a small Toy3D."""

from pathlib import Path
from typing import Any

import pytest
import torch
from anomalib.engine import Engine
from anomalib.models import get_model, list_models

from anomalib_clip3dad.data import EVIDENCE_KINDS, Toy3D
from anomalib_clip3dad.errors import InputError
from anomalib_clip3dad.geometry import foreground_mask
from anomalib_clip3dad.inference import RGBXYZInferencer
from anomalib_clip3dad.models import Clip3dAdPlus
from tests.conftest import bumpy_part, depth_batch

NUMBERS = {"size": (96, 112), "num_train": 3, "num_validation": 2, "num_good": 2, "num_defects": 1}


def make(tiny_clip: str, **arguments: Any) -> Clip3dAdPlus:
    own = {"clip_model": tiny_clip, "pretrained": None, "views": [1], "visualizer": False, "num_turns": 2}
    return Clip3dAdPlus(**(own | {"layers": ["blocks.2"]} | arguments))


def data(root: Path, **arguments: Any) -> Toy3D:
    return Toy3D(root, "gear", **NUMBERS, **({"k_shot": 2} | arguments))


def engine() -> Engine:
    return Engine(enable_progress_bar=False, enable_model_summary=False, accelerator="cpu")


def test_anomalib_knows_the_model(tiny_clip: str) -> None:
    assert "clip3d_ad_plus" in list_models()
    found = get_model("Clip3dAdPlus", clip_model=tiny_clip, pretrained=None, views=[])
    assert type(found) is Clip3dAdPlus


@pytest.mark.parametrize("k_shot", [1, 2])
def test_from_training_to_a_checkpoint_and_back(tmp_path: Path, tiny_clip: str, k_shot: int) -> None:
    model, trainer = make(tiny_clip), engine()
    trainer.fit(model, datamodule=data(tmp_path, k_shot=k_shot))
    assert trainer.trainer.global_step == 1  # one pass over the shots
    assert model.class_name == "gear"
    result = trainer.test(model, datamodule=data(tmp_path), verbose=False)[0]
    assert set(result) == {"image_AUROC", "image_AUPR", "pixel_AUROC", "pixel_AUPRO"}
    file = trainer.trainer.checkpoint_callback.best_model_path
    state = torch.load(file, weights_only=True)["state_dict"]
    assert not any("tower" in name for name in state)
    assert engine().test(make(tiny_clip), datamodule=data(tmp_path), ckpt_path=file, verbose=False)[0] == result
    image, xyz = bumpy_part(96, 112)
    expected, found = model.predict(image, xyz), RGBXYZInferencer(file, "cpu").predict(image, xyz)
    assert expected.pred_label is not None
    torch.testing.assert_close(found.anomaly_map, expected.anomaly_map)
    torch.testing.assert_close(found.pred_score, expected.pred_score)


@pytest.mark.slow
def test_the_exported_graph_says_the_same(tmp_path: Path, tiny_clip: str) -> None:
    model, trainer = make(tiny_clip), engine()
    trainer.fit(model, datamodule=data(tmp_path))
    exported = trainer.export(model, "onnx", tmp_path / "exported")
    inferencer = RGBXYZInferencer(exported)
    for seed in range(3):
        image, xyz = bumpy_part(96, 112, seed)
        expected, found = model.predict(image, xyz), inferencer.predict(image, xyz)
        torch.testing.assert_close(found.anomaly_map, expected.anomaly_map, atol=1e-3, rtol=0)
        torch.testing.assert_close(found.pred_score, expected.pred_score, atol=1e-4, rtol=0)


def test_the_evidence_adds_up_to_the_map(tmp_path: Path, tiny_clip: str) -> None:
    model = make(tiny_clip, post_processor=False)
    parts, trainer = data(tmp_path, val_split_mode="none"), engine()
    trainer.fit(model, datamodule=parts)
    image, xyz = (torch.stack(each) for each in zip(*(bumpy_part(96, 96, seed) for seed in range(2)), strict=True))
    with torch.inference_mode():
        found = model.eval()(image, xyz)
    reasons = model.predict(image[1], xyz[1])
    torch.testing.assert_close(reasons.anomaly_map[0], found.anomaly_map[1])
    torch.testing.assert_close(reasons.pred_score[0], found.pred_score[1])
    assert reasons.evidence is not None
    assert reasons.evidence.shape == (1, len(EVIDENCE_KINDS), 96, 96)
    assert (reasons.anomaly_map >= 0).all()
    assert (reasons.anomaly_map < 1).all()
    # bilinear steps in between: near, not equal
    total = reasons.evidence.sum(dim=1)
    assert torch.corrcoef(torch.stack([(total / (1 + total)).flatten(), reasons.anomaly_map.flatten()]))[0, 1] > 0.9
    predicted = trainer.predict(model, datamodule=parts)
    assert predicted
    assert predicted[0].evidence.shape[1] == len(EVIDENCE_KINDS)


def test_a_shot_without_points_is_refused(tiny_clip: str) -> None:
    batch = depth_batch(2)
    batch.depth_map[1] = 0.0
    with pytest.raises(InputError, match="no measured point"):
        make(tiny_clip, class_name="part").training_step(batch)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_turns": 0}, "num_turns=0: at least 1"),
        ({"view_paint": "gold"}, "view_paint='gold'"),
        ({"layers": ["blocks.99"]}, "the stages of tf_efficientnet_lite0 are"),
        ({"prompts": "none such"}, "prompts"),
    ],
)
def test_wrong_arguments_are_named(tiny_clip: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make(tiny_clip, **arguments)


def test_of_many_shots_the_first_eight_get_anomalies(tiny_clip: str) -> None:
    model = make(tiny_clip, class_name="gear", num_turns=1)
    batch = depth_batch(10, 96, 112)
    for rows in (slice(7), slice(7, 10)):
        image, xyz = (field[rows].as_subclass(torch.Tensor) for field in (batch.image, batch.depth_map))
        model.remember(image, xyz, foreground_mask(xyz))
    assert len(model._shots) == 10
    assert [each.shot for each in model._flawed] == [shot for shot in range(8) for _ in range(8)]
    model.make_bank(0)
    assert model.model.scale.score_weight.isfinite().all()
