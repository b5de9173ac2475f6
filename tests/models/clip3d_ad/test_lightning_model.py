# SPDX-License-Identifier: Apache-2.0
"""The model in anomalib's Engine, on loaders of depth items such as any of its data modules gives."""

import logging
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from anomalib.data import AnomalibDataModule, DepthBatch, DepthItem
from anomalib.engine import Engine
from anomalib.metrics import AUROC, Evaluator, F1Score
from lightning.pytorch import Callback, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from safetensors.torch import save_file
from torch.nn import functional
from torch.utils.data import DataLoader
from torchvision.transforms.v2 import RandomHorizontalFlip

from anomalib_clip3dad.callbacks import AnomalySynthesis, prepare_cloud
from anomalib_clip3dad.clip import load_clip
from anomalib_clip3dad.data import KShotSampler, Toy3D
from anomalib_clip3dad.errors import InputError
from anomalib_clip3dad.geometry import (
    MultiViewRenderer,
    crop_image,
    crop_nearest,
    find_part,
    foreground_mask,
    paste_map,
    resize_organised,
)
from anomalib_clip3dad.models import Clip3dAd
from anomalib_clip3dad.models.clip3d_ad.loss import bidirectional_contrastive_loss
from anomalib_clip3dad.models.frozen_cache import FeatureStore
from anomalib_clip3dad.visualization import TrainingMonitor
from tests.conftest import bumpy_part

SIZE = (60, 80)


def loader(anomalous: bool = False, batch_size: int = 2) -> DataLoader:
    """Four parts; with `anomalous` the last two have a black patch."""
    items = []
    for i in range(4):
        image, xyz = bumpy_part(*SIZE, seed=i)
        mask = torch.zeros(SIZE, dtype=torch.bool)
        if anomalous and i >= 2:
            mask[25:35, 35:45] = True
        items.append(
            DepthItem(
                image=image * ~mask,
                depth_map=xyz,
                gt_mask=mask,
                gt_label=mask.any(),
                image_path=f"root/test/kind{i}/rgb/000.png",
            )
        )
    return DataLoader(items, batch_size, collate_fn=DepthBatch.collate)


class FourShots(AnomalibDataModule):
    """The four parts, drawn as a few-shot data module does."""

    name, category = "Parts", "bumps"  # anomalib's engine names folders after them

    def __init__(self, batch_size: int = 2, num_samples: int = 12, **arguments: Any) -> None:
        super().__init__(train_batch_size=batch_size, eval_batch_size=4, num_workers=0, **arguments)
        self.num_samples = num_samples

    def setup(self, stage: str | None = None) -> None:
        """Nothing to read."""

    _setup = setup

    def train_dataloader(self) -> DataLoader:
        """All steps in one epoch."""
        assert self.trainer is not None
        whole = loader(batch_size=self.train_batch_size)
        sampler = KShotSampler(4, self.num_samples, 0, self.trainer.global_rank, self.trainer.world_size)
        return DataLoader(whole.dataset, self.train_batch_size, sampler=sampler, collate_fn=whole.collate_fn)

    def val_dataloader(self) -> DataLoader:
        """The same parts."""
        return loader()


def make(clip_name: str, **arguments: Any) -> Clip3dAd:
    torch.manual_seed(0)
    defaults = {"pretrained": None, "class_name": "tire", "layers": [1, 3], "views": [5, 9], "visualizer": False}
    return Clip3dAd(clip_name, **(defaults | arguments))


def engine(**arguments: Any) -> Engine:
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    return Engine(**(quiet | arguments))


def trained_at_random(model: Clip3dAd) -> Clip3dAd:
    """Draw every trained parameter: what starts at zero would hide all that comes before it."""
    torch.manual_seed(2)
    for parameter in model.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.2)
    return model


def scores(model: Clip3dAd) -> torch.Tensor:
    batch = next(iter(loader(anomalous=True, batch_size=4)))
    with torch.no_grad():
        return model.eval()(batch.image, batch.depth_map).pred_score


def test_trains_what_it_should_and_nothing_else(tiny_clip: str) -> None:
    model = make(tiny_clip)
    before = {name: value.clone() for name, value in model.model.state_dict().items()}
    engine(max_steps=3).fit(model, loader(), loader())
    for name, value in model.model.state_dict().items():
        frozen = name.startswith("tower.") or name == "text"
        assert torch.equal(before[name], value) == frozen, name


def test_one_learning_rate_for_each_part(tiny_clip: str) -> None:
    """Section 4.1.3."""
    model = make(tiny_clip)
    rates = {id(p): group["lr"] for group in model.configure_optimizers().param_groups for p in group["params"]}
    parts = {
        "classification_text_adapter": 1e-5,
        "segmentation_text_adapter": 5e-5,
        "image_adapter": 5e-4,
        "decoder": 5e-4,
        "global_fusion": 1e-4,
        "local_fusion": 1e-4,
    }
    for part, rate in parts.items():
        assert {rates[id(p)] for p in getattr(model.model, part).parameters()} == {rate}
    assert len(rates) == sum(p.requires_grad for p in model.parameters())


def test_loss_falls_on_parts_seen_again_and_again(tiny_clip: str) -> None:
    model = make(tiny_clip)
    losses = []
    model.log_dict = lambda values, **_: losses.append(values["train_loss"].item())  # type: ignore[method-assign]
    engine(max_steps=60, callbacks=[AnomalySynthesis(seed=0)]).fit(model, loader(), loader())
    assert sum(losses[-10:]) < sum(losses[:10])


def test_same_seed_same_model(tiny_clip: str) -> None:
    trained = []
    for _ in range(2):
        model = make(tiny_clip)
        engine(max_steps=3).fit(model, loader(), loader())
        trained.append(scores(model))
    assert torch.equal(*trained)


def test_tested_twice_gives_the_same_bits(tiny_clip: str) -> None:
    model = trained_at_random(make(tiny_clip))
    first, second = (engine().test(model, loader(anomalous=True), verbose=False) for _ in range(2))
    assert first == second
    assert torch.equal(scores(model), scores(model))
    predictions = [engine().predict(model, loader(anomalous=True)) for _ in range(2)]
    for one, other in zip(*predictions, strict=True):
        assert torch.equal(one.anomaly_map, other.anomaly_map)
        assert torch.equal(one.pred_score, other.pred_score)
        assert not hasattr(one, "views")  # large, and nobody asked for them


def test_default_metrics(tiny_clip: str) -> None:
    result = engine().test(make(tiny_clip), loader(anomalous=True), verbose=False)[0]
    assert set(result) == {"image_AUROC", "image_AUPR", "pixel_AUROC", "pixel_AUPRO"}
    assert all(0 <= value <= 1 for value in result.values())


class Watch(AUROC):
    """Keeps what an evaluator sees."""

    seen: list[torch.Tensor]

    def update(self, batch: Any, *args: Any, **kwargs: Any) -> None:
        self.seen = [*getattr(self, "seen", []), batch.pred_score.clone()]
        super().update(batch, *args, **kwargs)


@pytest.mark.parametrize("with_f1", [False, True])
def test_metrics_see_raw_maps_and_thresholded_labels(tiny_clip: str, with_f1: bool) -> None:
    """Whatever else is listed."""
    watch = Watch(fields=["pred_score", "gt_label"], prefix="image_")
    metrics = [watch, F1Score(fields=["pred_label", "gt_label"], prefix="image_")] if with_f1 else [watch]
    model = make(tiny_clip, evaluator=Evaluator(test_metrics=metrics))
    trainer = engine(max_steps=2)  # a whole epoch: the validation behind it sets threshold and range
    trainer.fit(model, loader(), loader(anomalous=True))
    result = trainer.test(model, loader(anomalous=True), verbose=False)[0]
    model.eval()
    steps = [model.validation_step(_prepared(model, b)) for b in loader(anomalous=True)]
    scores, truth = (torch.cat([getattr(step, name) for step in steps]) for name in ("pred_score", "gt_label"))
    torch.testing.assert_close(torch.cat(watch.seen), scores)
    if with_f1:
        found = scores > model.post_processor.image_threshold
        hits = (found & truth).sum().item()
        expected = 2 * hits / (found.sum().item() + truth.sum().item())
        assert 0 < expected == pytest.approx(result["image_F1Score"])


def _prepared(model: Clip3dAd, batch: DepthBatch) -> DepthBatch:
    model.pre_processor.on_test_batch_start(None, None, batch, 0)
    batch.depth_map = resize_organised(batch.depth_map, tuple(batch.image.shape[-2:]))
    return batch


def test_steps_and_forward_agree(tiny_clip: str) -> None:
    """What is exported later must be what is tested."""
    model = trained_at_random(make(tiny_clip, post_processor=False))
    batch = next(iter(loader(batch_size=4)))
    with torch.no_grad():
        forward = model.eval()(batch.image, batch.depth_map)
        step = model.validation_step(_prepared(model, batch))
    torch.testing.assert_close(forward.pred_score, step.pred_score)
    torch.testing.assert_close(forward.anomaly_map, step.anomaly_map.as_subclass(torch.Tensor))


def test_synthesis_stands_before_the_pre_processor_and_can_be_replaced(tiny_clip: str) -> None:
    for given in ((), (AnomalySynthesis(opacity=(0.5, 0.6)),)):
        model, trainer = make(tiny_clip), engine(max_steps=1, callbacks=list(given))
        trainer.fit(model, loader(), loader())
        callbacks = trainer.trainer.callbacks
        kinds = [type(callback) for callback in callbacks]
        assert kinds.count(AnomalySynthesis) == 1
        assert kinds.index(AnomalySynthesis) < kinds.index(type(model.pre_processor))
        assert all(callback in callbacks for callback in given)


@pytest.mark.slow
def test_a_training_is_shown_unless_nothing_is_to_be_drawn(
    tiny_clip: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for visualizer, given in ((True, ()), (True, (TrainingMonitor(every=2),)), (False, ())):
        folder = tmp_path / f"{visualizer}{len(given)}"
        trainer = engine(max_steps=3, callbacks=list(given), default_root_dir=folder)
        trainer.fit(make(tiny_clip, visualizer=visualizer), loader(), loader())
        said, found = capsys.readouterr().out, {path.stem for path in folder.rglob("training/*.png")}
        between = {"step_00002"} if given else set()
        assert found == ({"losses", "step_00001", "step_00003"} | between if visualizer else set())
        assert ("step 3 of 3: segmentation loss" in said) == visualizer


def test_judged_apart_both_embeddings_are_compared_with_the_texts(tiny_clip: str) -> None:
    """L_con is the mean of the image's and the views'."""
    model = trained_at_random(make(tiny_clip, fusion="late")).train()
    batch = next(iter(loader()))
    AnomalySynthesis(seed=0).on_train_batch_start(
        SimpleNamespace(current_epoch=0, global_rank=0, world_size=1), model, batch, 0
    )
    foreground = prepare_cloud(_prepared(model, batch))
    features = model.read(model.cut(batch.image, batch.depth_map, foreground))
    picture, views = model.model.image_adapter(features.cls), model.model.global_fusion(features.view_cls)
    text = model.model.classification_text_adapter(model.model.text)
    apart = [bidirectional_contrastive_loss(*each.chunk(2), text[:1], text[1:]) for each in (picture, views)]
    torch.testing.assert_close(model.losses(features, batch.gt_mask)["train_loss_con"], (apart[0] + apart[1]) / 2)


def test_predictions_keep_nothing_of_the_way(tiny_clip: str) -> None:
    model = make(tiny_clip, post_processor=False)
    batch = model.eval().validation_step(_prepared(model, next(iter(loader()))))
    assert set(vars(batch)) == set(vars(next(iter(loader()))))


def test_the_part_is_judged_as_if_it_had_been_cut_out_before(tiny_clip: str) -> None:
    cropping = trained_at_random(make(tiny_clip, crop_to_part=True, post_processor=False)).eval()
    plain = trained_at_random(make(tiny_clip, post_processor=False)).eval()
    image, xyz = (values[None] for values in bumpy_part(96, 96))  # twice what CLIP reads: nothing is resized before
    foreground = foreground_mask(xyz)
    box = find_part(foreground)
    cut = crop_nearest(foreground[:, None].byte(), box, (48, 48))[:, 0] > 0
    with torch.no_grad():
        found = cropping(image, xyz)
        expected = plain.judge(crop_image(image, box, (48, 48)), crop_nearest(xyz, box, (48, 48)), cut)
    torch.testing.assert_close(found.pred_score, expected.pred_score)
    torch.testing.assert_close(found.anomaly_map, paste_map(expected.anomaly_map, box, (96, 96)))
    assert not torch.allclose(found.pred_score, plain(image, xyz).pred_score)


def test_training_with_the_part_cut_out_sees_the_mask_in_its_frame(tiny_clip: str) -> None:
    model = make(tiny_clip, crop_to_part=True, post_processor=False)
    seen: list[torch.Tensor] = []
    losses = model.losses
    model.losses = lambda features, mask: (seen.append(mask), losses(features, mask))[1]  # type: ignore[method-assign]
    engine(max_steps=1).fit(model, loader(), loader())
    (mask,) = seen
    assert mask.shape[-2:] == (48, 48)
    half = len(mask) // 2
    assert not mask[:half].any()
    assert mask[half:].flatten(1).any(1).all()


def test_equation_15_on_the_pairs_of_a_batch(tiny_clip: str) -> None:
    model = trained_at_random(make(tiny_clip, loss_temperature=0.5)).train()
    model.log_dict = lambda *_, **__: None  # type: ignore[method-assign]
    batch = next(iter(loader()))
    trainer = SimpleNamespace(current_epoch=0, global_rank=0, world_size=1)
    model.trainer = SimpleNamespace(datamodule=None)  # type: ignore[assignment]
    AnomalySynthesis(seed=0).on_train_batch_start(trainer, model, batch, 0)
    batch = _prepared(model, batch)
    views = MultiViewRenderer((5, 9), 48)(batch.image, batch.depth_map, foreground_mask(batch.depth_map))
    adapted = model.model(batch.image, views)
    text_normal, text_anomalous = adapted.text

    def similarity(image: torch.Tensor, text: torch.Tensor) -> float:
        return torch.exp(functional.cosine_similarity(image, text, dim=0) / 0.5)

    contrastive = torch.zeros(())
    for plus, minus in ((0, 2), (1, 3)):  # sample 0 and its anomaly are 0 and 2 of the doubled batch
        pp, pn = (similarity(adapted.images[0][plus], text) for text in (text_normal, text_anomalous))
        np, nn = (similarity(adapted.images[0][minus], text) for text in (text_normal, text_anomalous))
        i2t = -torch.log(pp / (pp + pn)) - torch.log(nn / (nn + np))
        t2i = -torch.log(pp / (pp + np)) - torch.log(nn / (nn + pn))
        contrastive += (i2t + t2i) / 2 / 2
    mask, s_map = batch.gt_mask.float(), adapted.anomaly_map
    segmentation = -(mask * torch.log(s_map) + (1 - mask) * torch.log(1 - s_map)).mean()
    torch.testing.assert_close(model.training_step(batch, 0), contrastive + segmentation)


@pytest.mark.parametrize(("limits", "steps"), [({}, 7), ({"max_steps": 3}, 3), ({"max_epochs": 2}, 4)])
def test_training_ends(tiny_clip: str, limits: dict[str, int], steps: int) -> None:
    trainer = engine(**limits)
    trainer.fit(make(tiny_clip, max_steps=7), loader(), loader())
    assert trainer.trainer.global_step == steps


@pytest.mark.parametrize("with_class", [True, False])
def test_checkpoint_reloaded_gives_equal_scores(tiny_clip: str, with_class: bool) -> None:
    model = make(tiny_clip, class_name="tire" if with_class else None)
    trainer = engine(max_steps=2)
    trainer.fit(model, loader(), loader(anomalous=True))
    file = trainer.trainer.checkpoint_callback.best_model_path
    assert torch.equal(scores(Clip3dAd.load_from_checkpoint(file)), scores(model))

    other = make(tiny_clip, class_name="bagel")
    result = engine().test(other, loader(anomalous=True), ckpt_path=file, verbose=False)
    assert other.class_name == ("tire" if with_class else "object")
    assert result == engine().test(model, loader(anomalous=True), verbose=False)


def test_checkpoint_holds_no_frozen_weights(tiny_clip: str) -> None:
    model, trainer = make(tiny_clip), engine(max_steps=1)
    trainer.fit(model, loader(), loader())
    content = torch.load(trainer.trainer.checkpoint_callback.best_model_path, weights_only=True)
    assert not any("tower" in name or "transformer" in name for name in content["state_dict"])
    assert "model.text" in content["state_dict"]


@pytest.mark.slow
def test_checkpoint_is_as_large_as_what_was_trained() -> None:
    model, trainer = make("ViT-S-16-alt", layers=[6, 12]), engine(max_steps=1)
    trainer.fit(model, loader(), loader())
    trained = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    size = Path(trainer.trainer.checkpoint_callback.best_model_path).stat().st_size
    assert 3 * trained < size < 3.3 * trained  # Adam remembers two numbers for each


@pytest.mark.parametrize("step", [3, 5])
def test_a_resumed_training_ends_bit_equal(tmp_path: Path, tiny_clip: str, step: int) -> None:
    def train(folder: str, seed: int, ckpt_path: Path | None = None) -> Clip3dAd:
        seed_everything(seed, verbose=False)
        numbers = {"num_train": 3, "num_validation": 2, "num_good": 1, "num_defects": 1}
        parts = Toy3D(tmp_path / "toy", "gear", **numbers, size=(64, 80), k_shot=3, train_batch_size=2, num_workers=0)
        model = make(tiny_clip, geometry=0.5)
        keep = ModelCheckpoint(tmp_path / folder, "{step}", every_n_train_steps=1, save_top_k=-1)
        engine(max_steps=7, callbacks=[keep]).fit(model, datamodule=parts, ckpt_path=ckpt_path)
        return model

    undisturbed = train("whole", 0)
    resumed = train("rest", 1, tmp_path / "whole" / f"step={step}.ckpt")
    for name, value in undisturbed.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    thresholds = [model.post_processor.image_threshold for model in (undisturbed, resumed)]
    assert torch.equal(*thresholds)


def test_a_checkpoint_without_the_optimiser_says_so(tiny_clip: str, caplog: pytest.LogCaptureFixture) -> None:
    model, trainer = make(tiny_clip), engine(max_steps=2)
    trainer.fit(model, loader(), loader())
    file = trainer.trainer.checkpoint_callback.best_model_path
    torch.save(torch.load(file, weights_only=True) | {"optimizer_states": []}, file)
    other, longer = make(tiny_clip), engine(max_steps=4)
    with caplog.at_level(logging.WARNING):
        longer.fit(other, loader(), loader(), ckpt_path=file)
    assert "a fresh optimiser" in caplog.text
    assert longer.trainer.global_step == 4
    assert not torch.equal(scores(other), scores(model))


def test_a_loss_that_is_no_number_ends_the_training(tiny_clip: str) -> None:
    """The first step makes the weights infinite."""
    model, trainer = make(tiny_clip, decoder_lr=float("inf")), engine(max_steps=6)
    with pytest.raises(InputError, match=r"the loss is NaN or infinite at step 1 .*; give lower learning rates"):
        trainer.fit(model, loader(), loader())


class FullDisk(Callback):
    """From the second epoch on no file can grow beyond 10 kB; to the program, that is what a full disk is."""

    def __init__(self, resource: Any) -> None:
        self.resource = resource

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:  # noqa: ARG002
        if trainer.current_epoch == 1:
            size = self.resource.RLIMIT_FSIZE
            self.resource.setrlimit(size, (10_000, self.resource.getrlimit(size)[1]))


def test_a_full_disk_leaves_the_last_checkpoint_whole(
    tiny_clip: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resource = pytest.importorskip("resource", reason="file sizes cannot be limited on Windows")
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")  # a file from there would be copied where it goes, not moved
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    trainer = engine(max_epochs=3, callbacks=[FullDisk(resource)], logger=False)
    try:
        with pytest.raises(OSError, match="File too large"):
            trainer.fit(make(tiny_clip), loader(), loader())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    (file,) = tmp_path.rglob("*.ckpt*")
    assert torch.load(file, weights_only=True)["global_step"] == 2
    assert scores(Clip3dAd.load_from_checkpoint(file)).isfinite().all()


def losses_of(model: Clip3dAd, **arguments: Any) -> list[float]:
    """Those of eight steps on the same four parts."""
    losses: list[float] = []
    model.log_dict = lambda values, **_: losses.append(values["train_loss"].item())  # type: ignore[method-assign]
    engine(max_steps=8, callbacks=[AnomalySynthesis(geometry=0.5, seed=0)], **arguments).fit(
        model, datamodule=FourShots(num_samples=16)
    )
    return losses


@pytest.mark.parametrize("views", [[5, 9], []])
def test_losses_with_and_without_the_store_are_equal(
    tiny_clip: str, views: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    with_store = losses_of(make(tiny_clip, views=views))
    monkeypatch.setattr(FeatureStore, "knows", lambda *_: False)
    assert losses_of(make(tiny_clip, views=views)) == pytest.approx(with_store, abs=1e-5)


def test_the_shots_go_through_the_tower_once(tiny_clip: str) -> None:
    model = make(tiny_clip)
    counted: list[int] = []
    model.model.tower.register_forward_hook(lambda _, inputs, __: counted.append(len(inputs[0])))
    engine(max_steps=6, limit_val_batches=0).fit(model, datamodule=FourShots(num_samples=12))
    per_sample = 1 + 2  # image and views
    assert sum(counted) == per_sample * (4 + 6 * 2)  # four shots once, two anomalies in each of six steps


@pytest.mark.parametrize("data", [FourShots(train_augmentations=RandomHorizontalFlip()), None])
def test_images_that_may_change_are_read_every_time(tiny_clip: str, data: FourShots | None) -> None:
    """Augmented ones, and those of loaders that nobody knows anything about."""
    model = make(tiny_clip)
    model.trainer = SimpleNamespace(datamodule=data)  # type: ignore[assignment]
    batch = next(iter(loader()))
    counted: list[int] = []
    model.model.tower.register_forward_hook(lambda _, inputs, __: counted.append(len(inputs[0])))
    for _ in range(2):
        model.read_pairs(batch, prepare_cloud(_prepared(model, batch)))
    assert counted == [6, 6]


def test_half_precision_for_everything_is_refused(tiny_clip: str) -> None:
    with pytest.raises(InputError, match="use bf16-mixed"):
        engine(max_steps=1, precision="bf16-true").fit(make(tiny_clip), loader())


def test_mixed_precision_stays_close(tiny_clip: str) -> None:
    """On a CPU, Lightning takes bfloat16 for 16-mixed, too."""
    full = losses_of(make(tiny_clip))
    mixed = losses_of(make(tiny_clip), precision="bf16-mixed")
    assert mixed == pytest.approx(full, abs=0.02)
    assert mixed != full


class WriteLosses(Callback):
    """One file for each process, one line for each step."""

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *_: Any) -> None:  # noqa: ARG002
        with Path(f"losses_{trainer.world_size}_{trainer.global_rank}").open("a") as file:
            file.write(f"{outputs['loss'].item()}\n")


@pytest.mark.slow
def test_two_processes_learn_as_one_does_from_twice_the_batch(tiny_clip: str) -> None:
    trained = []
    for processes in (1, 2):
        model = make(tiny_clip)
        spread = {"strategy": "ddp_spawn", "devices": 2} if processes == 2 else {}  # "ddp" starts pytest again
        callbacks = [AnomalySynthesis(geometry=0.5, seed=0), WriteLosses()]
        trainer = engine(max_steps=3, callbacks=callbacks, **spread)
        trainer.fit(model, datamodule=FourShots(4 // processes))
        trained.append([p.detach() for p in model.parameters() if p.requires_grad])
    alone, *both = (
        [float(line) for line in Path(f"losses_{name}").read_text().split()] for name in ("1_0", "2_0", "2_1")
    )
    assert [(one + other) / 2 for one, other in zip(*both, strict=True)] == pytest.approx(alone, abs=1e-5)
    assert len(alone) == 3
    for one, other in zip(*trained, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=0)


def test_mixed_precision_scores_stay_close(tiny_clip: str) -> None:
    model = trained_at_random(make(tiny_clip, post_processor=False, evaluator=False))
    full, mixed = (
        torch.cat([batch.pred_score for batch in engine(precision=precision).predict(model, loader(anomalous=True))])
        for precision in ("32", "bf16-mixed")
    )
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, full, atol=0.1, rtol=0)


def test_checkpoint_of_other_weights_is_refused(tiny_clip: str, tmp_path: Path) -> None:
    trainer = engine(max_steps=1)
    trainer.fit(make(tiny_clip), loader(), loader())
    state = {name: value + 1 for name, value in load_clip(tiny_clip, None).state_dict().items()}
    save_file(state, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"trained on other frozen weights.*give the same"):
        Clip3dAd.load_from_checkpoint(
            trainer.trainer.checkpoint_callback.best_model_path, pretrained=str(tmp_path / "other.safetensors")
        )


def test_without_views(tiny_clip: str) -> None:
    model, trainer = make(tiny_clip, views=[]), engine(max_steps=1)
    trainer.fit(model, loader(), loader())
    assert scores(model).shape == (4,)


def test_prompts_name_the_category_of_the_data(tiny_clip: str, caplog: pytest.LogCaptureFixture) -> None:
    class Data:
        category = "cable_gland"

    model = make(tiny_clip, class_name=None)
    trainer = engine()
    trainer.test(model, loader(), verbose=False)
    assert model.class_name == "object"
    model = make(tiny_clip, class_name=None)
    model.trainer = trainer.trainer
    model.trainer.datamodule = Data()
    with caplog.at_level(logging.INFO):
        model.setup("test")
    assert model.class_name == "cable gland"
    assert "'cable gland'" in caplog.text
    with pytest.raises(RuntimeError, match="class_name is already 'cable gland'"):
        model.set_class("tire")


def test_a_pre_processor_of_another_size_than_clips_is_refused(tiny_clip: str) -> None:
    pre_processor = Clip3dAd.configure_pre_processor((64, 64))
    assert list(pre_processor.transform.size) == [64, 64]
    with pytest.raises(ValueError, match=r"images of \(64, 64\), but this CLIP needs \(48, 48\)"):
        make(tiny_clip, pre_processor=pre_processor).predict(*bumpy_part())


def test_image_size_sets_picture_views_and_map(tiny_clip: str) -> None:
    model = make(tiny_clip, image_size=64, post_processor=False)
    batch = engine().predict(model, loader(anomalous=True))[0]
    assert batch.image.shape[-2:] == batch.depth_map.shape[-2:] == batch.anomaly_map.shape[-2:] == (64, 64)
    assert model.renderer.size == 64


@pytest.mark.parametrize(
    "other",
    [
        {"layers": [2, 3]},
        {"image_size": 64},
        {"views": [14, 27]},
        {"align_views": False},
        {"view_paint": "grey"},
        {"crop_to_part": True},
        {"fusion": "late"},
        {"adapter_ratio": 0.9},
        {"views": []},
    ],
)
def test_checkpoint_of_other_arguments_is_refused(tiny_clip: str, other: dict[str, Any]) -> None:
    trainer = engine(max_steps=1)
    trainer.fit(make(tiny_clip), loader(), loader())
    file = trainer.trainer.checkpoint_callback.best_model_path
    (name,) = other
    with pytest.raises(ValueError, match=rf"ckpt_path.*trained with {name}=.*this model has {name}="):
        engine().test(make(tiny_clip, **other), loader(anomalous=True), ckpt_path=file)


def test_checkpoint_of_another_model_is_refused(tiny_clip: str) -> None:
    with pytest.raises(ValueError, match="no checkpoint of Clip3dAd"):
        make(tiny_clip).on_load_checkpoint({"hyper_parameters": {}, "state_dict": {}})


def test_layers_go_from_coarse_to_fine(tiny_clip: str) -> None:
    assert make(tiny_clip, layers=[3, 1, 3]).model.tower.layers == (1, 3, 3)


def test_layers_are_noted_whoever_chose_them(tiny_clip: str) -> None:
    for views in ([5, 9], []):
        assert make(tiny_clip, layers=None, views=views).hparams["layers"] == (2, 3)
    assert make(tiny_clip, layers=[1, 3]).hparams["layers"] == [1, 3]


def test_without_a_class_there_is_no_score(tiny_clip: str) -> None:
    image, xyz = bumpy_part()
    with pytest.raises(ValueError, match="class_name"):
        make(tiny_clip, class_name=None)(image[None], xyz[None])
    assert make(tiny_clip).eval()(image[None], xyz[None]).pred_score.isfinite().all()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"views": [28]}, "28"),
        ({"layers": [4]}, "count from 1 to 3"),
        ({"layers": []}, "at least one"),
        ({"prompts": "x"}, "cpe"),
    ],
)
def test_wrong_arguments(tiny_clip: str, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make(tiny_clip, **wrong)


def test_towers_it_cannot_read() -> None:
    with pytest.raises(InputError, match=r"a vision transformer with a \[CLS\] token"):
        make("RN50")


def test_one_engine_for_models_with_and_without_views(tiny_clip: str) -> None:
    trainer = engine(max_steps=1)
    for views in ([5, 9], []):
        trainer.test(make(tiny_clip, views=views), loader(anomalous=True), verbose=False)


def test_a_training_without_validation_says_so(tiny_clip: str, caplog: pytest.LogCaptureFixture) -> None:
    model = make(tiny_clip)
    with caplog.at_level(logging.WARNING):
        engine(max_steps=1).fit(model, loader())
    assert "no threshold" in caplog.text
    assert not model.has_threshold
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        engine().predict(model, loader())
    assert "no threshold" in caplog.text
    caplog.clear()
    model, trainer = make(tiny_clip), engine(max_steps=2)
    with caplog.at_level(logging.WARNING):
        trainer.fit(model, loader(), loader())
        trainer.predict(model, loader())
    assert "no threshold" not in caplog.text
    assert model.has_threshold
