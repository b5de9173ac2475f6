# SPDX-License-Identifier: Apache-2.0
"""The model in anomalib's Engine on a small Toy3D."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from anomalib.engine import Engine
from anomalib.metrics import Evaluator, F1Score
from anomalib.models import get_model, list_models
from sklearn.metrics import roc_auc_score

from anomalib_clip3dad.data import Toy3D
from anomalib_clip3dad.errors import InputError
from anomalib_clip3dad.inference import RGBXYZInferencer
from anomalib_clip3dad.models import Btf
from anomalib_clip3dad.models.btf.lightning_model import MODES
from anomalib_clip3dad.toy import write_toy3d
from tests.conftest import bumpy_part, depth_batch

SIDE, PATCHES = 64, 8 * 8
NUMBERS = {"size": (SIDE, 80), "num_train": 5, "num_validation": 2, "num_good": 2, "num_defects": 1}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy")
    write_toy3d(folder, "gear", size=(SIDE, 80), train=5, validation=2, good=2, defects=1, progress=False)
    return folder


def make(mode: str = "fpfh", **arguments: Any) -> Btf:
    return Btf(
        mode, **({"image_size": SIDE, "backbone": "resnet18", "pre_trained": False, "visualizer": False} | arguments)
    )


def data(root: Path, **arguments: Any) -> Toy3D:
    return Toy3D(root, "gear", **NUMBERS, **({"k_shot": 2} | arguments))


def engine(**arguments: Any) -> Engine:
    return Engine(**({"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"} | arguments))


def trained(root: Path, mode: str = "fpfh", **arguments: Any) -> tuple[Btf, Engine]:
    model, trainer = make(mode, **arguments), engine()
    trainer.fit(model, datamodule=data(root))
    return model, trainer


def bank_of(model: Btf) -> torch.Tensor:
    return model.model.memory.memory_bank


def test_anomalib_knows_the_model() -> None:
    assert "btf" in list_models()
    assert type(get_model("Btf", mode="fpfh")) is Btf


@pytest.mark.parametrize("mode", MODES)
def test_from_training_to_a_checkpoint_and_back(root: Path, mode: str) -> None:
    model, trainer = trained(root, mode)
    assert len(bank_of(model)) == int(0.1 * 2 * PATCHES)
    result = trainer.test(model, datamodule=data(root), verbose=False)[0]
    assert set(result) == {"image_AUROC", "image_AUPR", "pixel_AUROC", "pixel_AUPRO"}
    file = trainer.trainer.checkpoint_callback.best_model_path
    assert not any("tower" in name for name in torch.load(file, weights_only=True)["state_dict"])
    other = make(mode)
    assert engine().test(other, datamodule=data(root), ckpt_path=file, verbose=False)[0] == result
    image, xyz = bumpy_part()
    expected, found = model.predict(image, xyz), RGBXYZInferencer(file, "cpu").predict(image, xyz)
    assert expected.pred_label is not None
    assert found.anomaly_map.shape == (1, SIDE, SIDE)
    torch.testing.assert_close(found.anomaly_map, expected.anomaly_map)
    torch.testing.assert_close(found.pred_score, expected.pred_score)


@pytest.mark.parametrize(
    ("k_shot", "arguments", "limits"),
    [
        (1, {"train_batch_size": 4}, {}),  # the loader fills the batch with the one shot
        (2, {"train_batch_size": 4}, {}),
        (4, {"train_batch_size": 3}, {}),
        (2, {"train_batch_size": 1}, {"max_steps": 7}),  # and the steps with both
        (None, {"train_batch_size": 2}, {}),
    ],
)
def test_every_sample_is_in_the_bank_once(
    root: Path, k_shot: int | None, arguments: dict[str, int], limits: dict[str, int]
) -> None:
    model, shots = make(coreset_sampling_ratio=1.0), data(root, k_shot=k_shot, **arguments)
    engine(**limits).fit(model, datamodule=shots)
    assert len(model._taken) == len(shots.train_data)
    assert len(bank_of(model)) == len(shots.train_data) * PATCHES


def test_a_training_that_ends_too_early_is_said(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        engine(max_steps=1).fit(make(), datamodule=data(root, train_batch_size=1))
    assert "ended after 1 of 2 samples" in caplog.text


def test_without_paths_all_samples_count() -> None:
    model, batch = make(coreset_sampling_ratio=1.0), depth_batch(2, SIDE, SIDE)
    batch.image_path = None
    for _ in range(2):
        model.training_step(batch)
    model.fit()
    assert len(bank_of(model)) == 2 * 2 * PATCHES


@pytest.mark.parametrize("of_torch", [False, True])
def test_same_seed_same_model(root: Path, of_torch: bool) -> None:
    """Its own seed, whatever torch's is; or torch's."""
    banks = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed if of_torch else len(banks))
        banks.append(bank_of(trained(root, "rgb+fpfh", seed=None if of_torch else seed)[0]))
    assert torch.equal(banks[0], banks[1])
    assert not torch.equal(banks[0], banks[2])


def test_steps_and_forward_agree(root: Path) -> None:
    model, _ = trained(root, "rgb+fpfh", post_processor=False)
    model.eval()
    batch = depth_batch(3, 60, 80)
    forward = model(batch.image, batch.depth_map)
    model.pre_processor.on_test_batch_start(None, None, batch, 0)
    step = model.validation_step(batch)
    assert not hasattr(step, "foreground")
    torch.testing.assert_close(forward.pred_score, step.pred_score)
    torch.testing.assert_close(forward.anomaly_map, step.anomaly_map.as_subclass(torch.Tensor))


def test_a_dent_is_seen_without_colours() -> None:
    """The map is highest where the cloud differs from the shots."""
    model, batch = make(post_processor=False), depth_batch(2, SIDE, SIDE)
    model.training_step(batch)
    model.fit()
    image, xyz = bumpy_part(SIDE, SIDE, seed=0)
    dented = xyz.clone()
    dented[2, 28:36, 28:36] += 0.008 * (dented[2, 28:36, 28:36] > 0)
    flawless, faulty = (model.eval()(image[None], cloud[None]) for cloud in (xyz, dented))
    assert faulty.pred_score > 1.2 * flawless.pred_score
    row, column = divmod(int((faulty.anomaly_map - flawless.anomaly_map)[0].argmax()), SIDE)
    assert 24 <= row < 40
    assert 24 <= column < 40


@pytest.mark.parametrize("own", [False, True])
def test_metrics_that_need_labels_see_them_before_scores_are_clipped(root: Path, own: bool) -> None:
    metric = F1Score(fields=["pred_label", "gt_label"], prefix="image_")
    model, trainer = trained(root, evaluator=Evaluator(test_metrics=[metric]) if own else True, visualizer=True)
    result = trainer.test(model, datamodule=data(root), verbose=False)[0]
    assert ("image_F1Score" in result) == own
    kinds = [type(callback).__name__ for callback in model.configure_callbacks()]
    assert kinds.index("UnboundedScoreEvaluator") < kinds.index("VerdictPostProcessor")
    assert kinds[-1] == "ResultFiles"


def test_metrics_tell_large_distances_apart(root: Path) -> None:
    """Those of FPFH lie beyond 17, where the sigmoid of float32 is 1, and beyond the validation's largest."""
    model, trainer = trained(root, coreset_sampling_ratio=1.0)
    result = trainer.test(model, datamodule=data(root), verbose=False)[0]
    loader = data(root)
    loader.setup()
    scores, labels, maps, masks = [], [], [], []
    for batch in loader.test_dataloader():
        model.pre_processor.on_test_batch_start(None, None, batch, 0)
        step = model.eval().validation_step(batch)
        assert step.pred_score.max() > 17
        scores += step.pred_score.tolist()
        labels += step.gt_label.tolist()
        maps.append(step.anomaly_map.flatten())
        masks.append(step.gt_mask.flatten())
    assert result["image_AUROC"] == pytest.approx(roc_auc_score(labels, scores), abs=1e-6)
    pixels = roc_auc_score(torch.cat(masks).numpy(), torch.cat(maps).numpy())
    assert result["pixel_AUROC"] == pytest.approx(pixels, abs=1e-4)


def test_checkpoints_of_another_model_are_refused(root: Path) -> None:
    _, trainer = trained(root, "rgb")
    file = trainer.trainer.checkpoint_callback.best_model_path
    for other, message in ((make("fpfh"), "mode=rgb, this model has mode=fpfh"), (make("rgb"), "other weights of res")):
        if other.mode == "rgb":
            torch.nn.init.ones_(other.model.tower.feature_extractor.conv1.weight)
        with pytest.raises(InputError, match=message):
            engine().test(other, datamodule=data(root), ckpt_path=file, verbose=False)


def test_pictures_are_brought_to_the_papers_size_or_the_asked_one() -> None:
    assert list(Btf.configure_pre_processor().transform.size) == [224, 224]
    assert list(make().pre_processor.transform.size) == [64, 64]


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(InputError, match="mode='xyz': give one of fpfh, rgb, "):
        Btf("xyz")
    with pytest.raises(InputError, match=r"coreset_sampling_ratio=0: a share in \(0, 1\]"):
        make(coreset_sampling_ratio=0)
    with pytest.raises(InputError, match="the memory bank is empty"):
        make().predict(*bumpy_part())


@pytest.mark.parametrize("mode", ["fpfh", "rgb+fpfh"])
def test_trees_are_not_exported(mode: str, tmp_path: Path) -> None:
    for export in (make(mode).to_onnx, make(mode).to_openvino):
        with pytest.raises(InputError, match="searches a tree for each point's neighbours"):
            export(tmp_path)


@pytest.mark.slow
def test_rgb_exports(root: Path, tmp_path: Path) -> None:
    model, _ = trained(root, "rgb")
    file = model.to_onnx(tmp_path, input_size=(60, 80))
    image, xyz = bumpy_part(60, 80)
    expected, found = model.predict(image, xyz), RGBXYZInferencer(file, "cpu").predict(image, xyz)
    torch.testing.assert_close(found.pred_score, expected.pred_score, atol=1e-4, rtol=0)
    torch.testing.assert_close(found.anomaly_map, expected.anomaly_map, atol=1e-4, rtol=0)
