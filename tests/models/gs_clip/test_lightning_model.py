# SPDX-License-Identifier: Apache-2.0
"""The model in anomalib's Engine: labelled samples of one toy category, tested on another."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from anomalib.engine import Engine
from anomalib.models import get_model
from plyfile import PlyData

from anomalib_clip3dad.data import AuxiliaryDataModule, PointClouds, Toy3D
from anomalib_clip3dad.errors import InputError
from anomalib_clip3dad.inference import RGBXYZInferencer
from anomalib_clip3dad.inference.runtimes import OnnxRuntime, OpenVino
from anomalib_clip3dad.models import GsClip
from anomalib_clip3dad.models.gs_clip import lightning_model
from anomalib_clip3dad.models.gs_clip.point_net import sample_points
from anomalib_clip3dad.models.gs_clip.stages import Known
from anomalib_clip3dad.toy import write_toy3d
from tests.conftest import bumpy_part, depth_batch
from tests.data.test_point_clouds import SHAPENET, write_category

NUMBERS: dict[str, Any] = {"size": (96, 96), "num_train": 1, "num_validation": 1, "num_good": 3, "num_defects": 1}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy")
    for category in ("gear", "ring"):
        write_toy3d(folder, category, size=(96, 96), train=1, validation=1, good=3, defects=1, progress=False)
    return folder


def make(tiny_clip: str, **arguments: Any) -> GsClip:
    own: dict[str, Any] = {"vv_from": 2, "num_points": 1024, "stage1_steps": 2, "stage2_steps": 2, "visualizer": False}
    return GsClip(tiny_clip, None, **(own | arguments))


def data(root: Path) -> AuxiliaryDataModule:
    source = Toy3D(root, "gear", **NUMBERS)
    return AuxiliaryDataModule(source, test_categories=["ring"], train_batch_size=2)


def sample(count: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    parts = [bumpy_part(64, 64, seed) for seed in range(count)]
    return torch.stack([image for image, _ in parts]), torch.stack([xyz for _, xyz in parts])


@pytest.fixture(scope="module")
def trained(tiny_clip: str, root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[GsClip, Engine, Path]:
    folder = tmp_path_factory.mktemp("run")
    engine = Engine(default_root_dir=folder, accelerator="cpu", devices=1, logger=False)
    model = make(tiny_clip)
    engine.fit(model, data(root))
    return model, engine, next(folder.rglob("model.ckpt"))


def test_both_stages_in_one_fit_and_the_test_of_others(trained: tuple[GsClip, Engine, Path], root: Path) -> None:
    model, engine, _ = trained
    assert model.global_step == 4
    (metrics,) = engine.test(model, data(root))
    assert {"image_AUROC", "image_AUROC/ring", "pixel_AUPRO"} <= set(metrics)
    assert not any(name.endswith("/gear") for name in metrics)


def test_each_sample_is_rendered_once_in_a_fit(
    tiny_clip: str,
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rendered = []
    real = GsClip.know
    monkeypatch.setattr(GsClip, "know", lambda self, cut, mask: rendered.append(len(mask)) or real(self, cut, mask))
    engine = Engine(default_root_dir=tmp_path, accelerator="cpu", devices=1, logger=False)
    model, samples = make(tiny_clip, stage1_steps=9, stage2_steps=1, visualizer=True), data(root)
    engine.fit(model, samples)
    assert model.global_step == 10  # more steps than samples
    assert rendered == [1] * len(samples.train_data)
    assert not model._store.knows([samples.training_files[0]])  # and is let go
    assert "step 10 of 10: views loss " in capsys.readouterr().out
    assert [path.name for path in tmp_path.rglob("training/*.png")] == ["losses.png"]  # and no sheets of pairs


def test_a_checkpoint_holds_what_is_trained_and_loads(trained: tuple[GsClip, Engine, Path]) -> None:
    model, _, file = trained
    state = torch.load(file, weights_only=True)["state_dict"]
    assert not any(name.startswith("model.tower.") for name in state)
    loaded = GsClip.load_from_checkpoint(file, visualizer=False).eval()
    image, xyz = sample()
    with torch.inference_mode():
        for one, other in zip(model.eval()(image, xyz), loaded(image, xyz), strict=True):
            assert (one is None) == (other is None)
            assert one is None or torch.equal(one, other)


def test_every_trained_tensor_learns_in_its_stage_and_no_other(tiny_clip: str) -> None:
    """Section 13, check 3: prototypes, both maps of keys, LoRA once its output is no longer 0."""
    model = make(tiny_clip).train()
    known = known_of(model)
    stage1 = {name for name, _ in trainable(model) if name.startswith(("points.", "prompts."))}
    for second, expected in ((False, stage1), (True, {n for n, _ in trainable(model)} - stage1)):
        if second:
            for each in model.model.low_rank.up:
                torch.nn.init.normal_(each.weight, std=0.02)
            torch.nn.init.normal_(model.model.refinement.join.weight, std=0.1)
        model.zero_grad()
        model.losses(known, second)["train_loss"].backward()
        learning = {name for name, value in trainable(model) if value.grad is not None and value.grad.any()}
        # the last bias before a norm over the batch, or after which the largest counts, may be without effect
        idle = {name for name in expected - learning if not name.endswith("bias")}
        assert learning <= expected
        assert not idle, idle


def trainable(model: GsClip) -> list[tuple[str, torch.nn.Parameter]]:
    return [(name, value) for name, value in model.model.named_parameters() if value.requires_grad]


def known_of(model: GsClip) -> Known:
    batch = depth_batch(2, 96, 96)
    mask = torch.zeros(2, 96, 96, dtype=torch.bool)
    mask[1, 40:50, 40:52] = True
    cut = model.cut(batch.image.as_subclass(torch.Tensor), batch.depth_map, batch.depth_map[:, 2] > 0)
    return model.know(cut, mask)


def test_stage_2_leaves_the_prompts_as_they_are(tiny_clip: str) -> None:
    """Neither their weights nor the statistics of PointNet++ change, nor is anything dropped."""
    model = make(tiny_clip).train()
    known = known_of(model)
    before = {name: value.clone() for name, value in model.model.points.state_dict().items()}
    model.model.low_rank.dropout.p = 0.0  # of stage 2 itself
    first, again = (model.losses(known, second=True)["train_loss_cloud"] for _ in range(2))
    assert first == again
    assert all(torch.equal(value, before[name]) for name, value in model.model.points.state_dict().items())
    model.losses(known, second=False)
    assert any(not torch.equal(value, before[name]) for name, value in model.model.points.state_dict().items())


def test_each_loss_can_be_left_out_and_stage_2_reaches_the_maps(tiny_clip: str) -> None:
    """In the authors' stage 2, the maps depend on nothing that is trained."""
    model = make(tiny_clip, stage2_losses=["points", "consistency"]).train()
    torch.nn.init.normal_(model.model.refinement.join.weight, std=0.1)
    found = model.losses(known_of(model), second=True)
    assert set(found) == {"train_loss", "train_loss_points", "train_loss_consistency"}
    torch.testing.assert_close(found["train_loss"], found["train_loss_points"] + found["train_loss_consistency"])
    found["train_loss_points"].backward()
    assert model.model.refinement.from_depth.weight.grad.any()


def test_a_batch_is_its_samples_and_the_same_bits_each_time(tiny_clip: str) -> None:
    model, (image, xyz) = make(tiny_clip).eval(), sample(2)
    with torch.inference_mode():
        together, again, alone = model(image, xyz), model(image, xyz), model(image[1:], xyz[1:])
    assert torch.equal(together.anomaly_map, again.anomaly_map)
    torch.testing.assert_close(together.pred_score[1:], alone.pred_score)
    torch.testing.assert_close(together.anomaly_map[1:], alone.anomaly_map, atol=1e-5, rtol=1e-4)


def test_the_score_is_half_the_peak_and_half_the_mean_of_the_views(tiny_clip: str) -> None:
    model, (image, xyz) = make(tiny_clip, post_processor=False).eval(), sample()
    with torch.inference_mode():
        resized, cloud, foreground = model.prepare(image, xyz)
        cut = model.cut(resized, cloud, foreground)
        seen = model.observe(cut)
        text = model.model.text(sample_points(cut.xyz, cut.foreground, model.num_points))
        judged = model._judged(seen.shaded, seen.depth, text)
        peak = model.on_points(judged.maps, seen.cells, seen.visible, cut).max()
        found = model.judge(resized, cloud, foreground)
    assert found.pred_score.item() == pytest.approx((peak.item() + judged.shares.mean().item()) / 2, abs=1e-6)
    outside = ~torch.nn.functional.max_pool2d(foreground[:, None].float(), 9, 1, 4)[:, 0].bool()
    assert found.anomaly_map[outside].max() < 0.02


def test_the_image_as_one_more_view(tiny_clip: str) -> None:
    (image, xyz), plain, both = sample(), make(tiny_clip).eval(), make(tiny_clip, rgb=True).eval()
    with torch.inference_mode():
        assert torch.equal(plain(image, xyz).pred_score, plain(1 - image, xyz).pred_score)
        assert not torch.equal(both(image, xyz).pred_score, both(1 - image, xyz).pred_score)


def test_unorganised_clouds(tiny_clip: str) -> None:
    model = make(tiny_clip, angles="surrounding", post_processor=False).eval()
    xyz = sample()[1].reshape(1, 3, 1, -1)
    with torch.inference_mode():
        found = model(torch.full((1, 3, 48, 48), 0.5), xyz)
    assert found.anomaly_map.shape == (1, 1, 64 * 64)
    assert not found.anomaly_map[(xyz == 0).all(dim=1)].any()
    assert found.anomaly_map.std() > 0
    with pytest.raises(InputError, match="an unorganised cloud has no image"):
        make(tiny_clip, rgb=True).eval()(torch.full((1, 3, 48, 48), 0.5), xyz)


def test_wrong_arguments_are_named(tiny_clip: str) -> None:
    for wrong in ({"angles": "all"}, {"context": "nothing"}, {"vv_from": 9}, {"stage1_losses": ["consistency"]}):
        with pytest.raises(InputError, match=f"{next(iter(wrong))}="):
            make(tiny_clip, **wrong)


def test_anomalib_knows_it(tiny_clip: str) -> None:
    assert isinstance(get_model("gs_clip", clip_model=tiny_clip, pretrained=None, vv_from=1), GsClip)


def test_words_to_start_from_are_those_of_the_tower(tiny_clip: str) -> None:
    model = make(tiny_clip, context="words")
    normal, anomalous = model.model.prompts.context
    assert torch.equal(normal[0, :4], anomalous[0, :4])  # a photo of a
    assert not torch.equal(normal[0, 4:], anomalous[0, 4:])


@pytest.mark.slow
def test_the_exported_graph_says_the_same_in_both_runtimes(
    tiny_clip: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the text tower inside, since the prompts depend on the cloud."""
    model = make(tiny_clip).eval()
    with torch.no_grad():  # what starts at zero or near it would hide all that comes before it
        for weight in (model.model.refinement.join.weight, *(up.weight for up in model.model.low_rank.up)):
            torch.nn.init.normal_(weight, std=0.2)
    exported = model.to_onnx(tmp_path, optimize=False)
    image, xyz = sample(3)
    xyz[1, :, 20:30, 20:24] = 0
    text = model.model.text
    with torch.inference_mode():
        expected = model(image, xyz)
        monkeypatch.setattr(model.model, "text", lambda points: text(points[:1].expand_as(points)))
        away = (model(image, xyz).anomaly_map - expected.anomaly_map).abs()[1:].amax(dim=(1, 2))
    assert away.min() > 5e-4  # without training, clouds hardly differ to PointNet++
    for runtime in (OnnxRuntime(exported), OpenVino(exported)):
        found = runtime(image.numpy(), xyz.numpy())
        for name in ("pred_score", "anomaly_map"):
            torch.testing.assert_close(torch.from_numpy(found[name]), getattr(expected, name), atol=1e-4, rtol=0)


def test_no_points_are_chosen_for_prompts_without_geometry(tiny_clip: str, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = []
    real = lightning_model.sample_points
    monkeypatch.setattr(lightning_model, "sample_points", lambda *given: chosen.append(1) or real(*given))
    for geometry in (True, False):
        model = make(tiny_clip, shape_prompt=geometry, defect_prompt=geometry).eval()
        with torch.inference_mode():
            assert model(*sample(2)).anomaly_map.isfinite().all()
        assert (known_of(model).points.shape[1] > 0) == geometry
    assert len(chosen) == 2  # by the first model, to judge and to train


@pytest.mark.slow
def test_points_of_a_file_become_points_with_scores(tiny_clip: str, tmp_path: Path) -> None:
    """Unorganised clouds, from .pcd to .ply: seen from all sides, trained on some, tested on others."""
    for category, count in (("bag0", 400), ("cap1", 350)):
        write_category(tmp_path / "clouds" / category, SHAPENET, counts=(count, count))
    source = PointClouds(tmp_path / "clouds", "bag0", num_points=1500)
    samples = AuxiliaryDataModule(source, test_categories=["cap1"], train_batch_size=2)
    model = make(tiny_clip, angles="surrounding", visualizer=True)
    engine = Engine(default_root_dir=tmp_path / "run", accelerator="cpu", devices=1, logger=False)
    engine.fit(model, samples)
    (metrics,) = engine.test(model, samples, verbose=False)
    assert {"image_AUROC", "pixel_AUROC"} <= set(metrics)
    files = sorted((tmp_path / "run").rglob("surfaces/**/*.ply"))
    assert len(files) == 5
    rows = PlyData.read(str(files[0]))["vertex"]
    assert len(rows) == 1500
    assert np.ptp(rows["score"]) > 0


def test_the_inferencer_reads_its_checkpoint(trained: tuple[GsClip, Engine, Path]) -> None:
    model, _, file = trained
    image, xyz = sample()
    with torch.inference_mode():
        expected = model.eval()(image, xyz)
    found = RGBXYZInferencer(file).predict(image[0], xyz[0])
    assert float(found.pred_score) == pytest.approx(expected.pred_score.item(), abs=1e-5)
