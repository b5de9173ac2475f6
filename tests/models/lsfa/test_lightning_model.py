# SPDX-License-Identifier: Apache-2.0
"""The model in anomalib's Engine on a small Toy3D."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from anomalib.engine import Engine
from anomalib.models import get_model, list_models
from anomalib.models.image.cfm.components import PointTransformer
from lightning.pytorch.loggers import CSVLogger

from anomalib_clip3dad.data import Toy3D
from anomalib_clip3dad.errors import InputError
from anomalib_clip3dad.inference import RGBXYZInferencer
from anomalib_clip3dad.models import Lsfa
from anomalib_clip3dad.models.lsfa.torch_model import MODALITIES
from anomalib_clip3dad.toy import write_toy3d
from tests.conftest import bumpy_part, depth_batch

SIDE, PATCHES = 64, 8 * 8
NUMBERS = {"size": (SIDE, 80), "num_train": 5, "num_validation": 2, "num_good": 2, "num_defects": 1}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy")
    write_toy3d(folder, "gear", size=(SIDE, 80), train=5, validation=2, good=2, defects=1, progress=False)
    return folder


def make(**arguments: Any) -> Lsfa:
    own = {"backbone": "resnet18", "layers": ["layer1"], "pre_trained": False, "visualizer": False}
    return Lsfa(**(own | {"image_size": SIDE, "patch_size": 8, "max_steps": 6, "warmup_steps": 2} | arguments))


def data(root: Path, **arguments: Any) -> Toy3D:
    return Toy3D(root, "gear", **NUMBERS, **({"k_shot": 2} | arguments))


def engine(**arguments: Any) -> Engine:
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    return Engine(**(quiet | arguments))


def trained(root: Path, k_shot: int | None = 2, **arguments: Any) -> tuple[Lsfa, Engine]:
    model, trainer = make(**arguments), engine()
    trainer.fit(model, datamodule=data(root, k_shot=k_shot))
    return model, trainer


def weights_of(model: Lsfa) -> torch.Tensor:
    return torch.cat([weight.flatten() for weight in model.model.adaptors.parameters()])


def banks_of(model: Lsfa) -> list[torch.Tensor]:
    memories: Any = model.model.memories
    return [memories[name].memory_bank for name in MODALITIES]


def test_the_losses_of_the_adaptation_are_drawn(root: Path, tmp_path: Path) -> None:
    for visualizer in (True, False):
        folder = tmp_path / str(visualizer)
        engine(default_root_dir=folder).fit(make(visualizer=visualizer), datamodule=data(root))
        assert len([*folder.rglob("training/losses.png")]) == visualizer


def test_anomalib_knows_the_model() -> None:
    assert "lsfa" in list_models()
    assert type(get_model("Lsfa", backbone="resnet18", layers=["layer1"], pre_trained=False)) is Lsfa


@pytest.mark.parametrize(
    ("k_shot", "arguments"),
    [
        (1, {}),
        (2, {}),
        (4, {"batch_size": 3}),
        (None, {}),
        (2, {"clc": False, "ifc": False}),
        (2, {"max_steps": 0}),
        (1, {"fusion": "svm"}),
        (2, {"fusion": "svm"}),
    ],
)
def test_from_training_to_a_checkpoint_and_back(root: Path, k_shot: int | None, arguments: dict[str, Any]) -> None:
    model, trainer = trained(root, k_shot, **arguments)
    shots = k_shot or 5
    assert [len(bank) for bank in banks_of(model)] == [int(0.1 * shots * PATCHES)] * 2
    assert torch.allclose(model.model.weight, torch.full((2,), 0.5)) == ("fusion" not in arguments)
    adapts = "ifc" not in arguments and "max_steps" not in arguments
    assert bool(list(model.model.adaptors.parameters())) == adapts
    result = trainer.test(model, datamodule=data(root), verbose=False)[0]
    assert set(result) == {"image_AUROC", "image_AUPR", "pixel_AUROC", "pixel_AUPRO"}
    file = trainer.trainer.checkpoint_callback.best_model_path
    state = torch.load(file, weights_only=True)["state_dict"]
    assert not any("tower" in name or "head" in name for name in state)
    assert engine().test(make(**arguments), datamodule=data(root), ckpt_path=file, verbose=False)[0] == result
    image, xyz = bumpy_part()
    expected, found = model.predict(image, xyz), RGBXYZInferencer(file, "cpu").predict(image, xyz)
    assert expected.pred_label is not None
    torch.testing.assert_close(found.anomaly_map, expected.anomaly_map)
    torch.testing.assert_close(found.pred_score, expected.pred_score)


def test_the_steps_change_the_features_and_so_the_banks(root: Path) -> None:
    """Steps are counted by the model alone, in one pass over the shots."""
    (adapted, trainer), (frozen, _) = trained(root, learning_rate=3e-3), trained(root, max_steps=0)
    assert trainer.trainer.global_step == 1
    start = make()
    start.model.start_adaptors(torch.initial_seed() % 2**32)
    assert not torch.equal(weights_of(adapted), weights_of(start))
    assert torch.equal(adapted.model.unit, frozen.model.unit)
    for bank, before in zip(banks_of(adapted), banks_of(frozen), strict=True):
        assert not torch.allclose(bank, before, atol=1e-2)
    assert not torch.allclose(adapted.model.mean, frozen.model.mean, rtol=1e-3)
    assert adapted.tower_hash == frozen.tower_hash


def test_the_bank_is_made_in_inference_mode_too() -> None:
    """A validation, before which Lightning wants the bank, is in that mode."""
    batch, banks = depth_batch(3, SIDE, SIDE), []
    image, xyz = (field.as_subclass(torch.Tensor) for field in (batch.image, batch.depth_map))
    for inference in (False, True):
        model = make(seed=1, num_neighbors=1, backbone="resnet10t")
        model.model.load_state_dict(banks[0][0], strict=False) if banks else None
        state = {name: value for name, value in model.model.state_dict().items() if name.startswith("tower")}
        model.remember(image, xyz, xyz[:, 2] > 0)
        with torch.inference_mode(inference):
            model.make_bank(1)
        banks.append((state, banks_of(model)))
    assert all(torch.equal(*pair) for pair in zip(banks[0][1], banks[1][1], strict=True))


@pytest.mark.parametrize("of_torch", [False, True])
def test_same_seed_same_bits(root: Path, of_torch: bool) -> None:
    """Its own seed, whatever torch's is; or torch's."""
    found = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed if of_torch else len(found))
        model, _ = trained(root, seed=None if of_torch else seed, patch_budget=20)
        found.append(torch.cat([weights_of(model), *(bank.flatten() for bank in banks_of(model)), model.model.mean]))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_every_step_is_logged(root: Path, tmp_path: Path) -> None:
    model, log = make(), CSVLogger(tmp_path)
    engine(logger=log).fit(model, datamodule=data(root))
    log.save()
    header, *rows = (Path(log.log_dir) / "metrics.csv").read_text().splitlines()
    assert {"train_local", "train_global", "train_patch", "train_prototype", "train_variance"} <= set(header.split(","))
    assert len(rows) >= 6


def test_collapse_is_said(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = {"clc": False, "learning_rate": 3e-3, "max_steps": 300}
    with caplog.at_level(logging.INFO):
        trained(root, **settings, least_variance=0.9)
    assert "of 300 steps: the features collapse (patch " in caplog.text
    caplog.clear()
    with caplog.at_level(logging.INFO):
        trained(root)
    assert "collapse" not in caplog.text
    assert "Adapted in 6 steps: local " in caplog.text


def test_steps_and_forward_agree(root: Path) -> None:
    model, _ = trained(root, post_processor=False)
    model.eval()
    batch = depth_batch(3, 60, 80)
    forward = model(batch.image, batch.depth_map)
    model.pre_processor.on_test_batch_start(None, None, batch, 0)
    step = model.validation_step(batch)
    torch.testing.assert_close(forward.pred_score, step.pred_score)
    torch.testing.assert_close(forward.anomaly_map, step.anomaly_map.as_subclass(torch.Tensor))


@pytest.mark.slow
def test_other_cloud_features_train_and_are_not_exported(root: Path, tmp_path: Path) -> None:
    torch.save({"base_model": PointTransformer().state_dict()}, tmp_path / "pretrain.pth")
    for arguments in ({"cloud_features": "fpfh"}, {"cloud_features": "pointmae"}):
        model, _ = trained(root, 1, **arguments, pointmae_weights=str(tmp_path / "pretrain.pth"))
        found = model.predict(*bumpy_part())
        assert found.anomaly_map.isfinite().all()
        for export in (model.to_onnx, model.to_openvino):
            with pytest.raises(InputError, match=f"cloud_features='{arguments['cloud_features']}' searches each point"):
                export(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "fusion"), [("onnx", "mean"), ("onnx", "svm"), ("openvino", "svm")])
def test_the_exported_graph_says_the_same(root: Path, tmp_path: Path, kind: str, fusion: str) -> None:
    model, trainer = trained(root, learning_rate=3e-3, fusion=fusion)
    inferencer = RGBXYZInferencer(trainer.export(model, kind, tmp_path))
    for seed in range(3):
        image, xyz = bumpy_part(60, 80, seed)
        expected, found = model.predict(image, xyz), inferencer.predict(image, xyz)
        assert expected.pred_score.isfinite().all()
        torch.testing.assert_close(found.anomaly_map, expected.anomaly_map, atol=1e-3, rtol=0)
        torch.testing.assert_close(found.pred_score, expected.pred_score, atol=1e-3, rtol=0)


def test_checkpoints_of_other_arguments_are_refused(root: Path) -> None:
    _, trainer = trained(root)
    file = trainer.trainer.checkpoint_callback.best_model_path
    for arguments, message in (
        ({"ifc": False}, "ifc=True, this model has ifc=False"),
        ({"max_steps": 0}, "max_steps"),
        ({"fusion": "svm"}, "fusion=mean, this model has fusion=svm"),
    ):
        with pytest.raises(InputError, match=message):
            engine().test(make(**arguments), datamodule=data(root), ckpt_path=file, verbose=False)


def test_a_shot_without_points_is_refused() -> None:
    batch = depth_batch(2)
    batch.depth_map[1] = 0.0
    with pytest.raises(InputError, match="no measured point"):
        make().training_step(batch)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"patch_size": 7}, "image_size=64, patch_size=7: the size must be a multiple"),
        ({"coreset_sampling_ratio": 0}, r"coreset_sampling_ratio=0: a share in \(0, 1\]"),
        ({"cloud_features": "normals"}, "give one of histograms, fpfh, pointmae"),
        ({"warmup_steps": 6}, "IFC would never start"),
        ({"fusion": "max"}, "fusion='max': give one of mean, svm"),
        ({"layers": ["layer9"]}, "the stages of resnet18 are"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make(**arguments)
