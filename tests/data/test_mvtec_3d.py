# SPDX-License-Identifier: Apache-2.0

import logging
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from anomalib.data import AnomalibDataset, DepthBatch
from anomalib.pre_processing import PreProcessor
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from anomalib_clip3dad.data import KShotSampler, MVTec3DXYZ, choose_shots
from tests.data.conftest import from_command_line

LOGGER = "anomalib_clip3dad.data.few_shot_datamodule"


class Recorder(LightningModule):
    """A model of one number that remembers which samples it saw; its pre-processor resizes to 6 x 8."""

    def __init__(self) -> None:
        super().__init__()
        self.number = torch.nn.Parameter(torch.zeros(()))
        self.pre_processor = PreProcessor(transform=v2.Compose([v2.Resize((6, 8))]))
        self.seen: list[list[str]] = []
        self.shapes: set[tuple[torch.Size, ...]] = set()

    def training_step(self, batch: DepthBatch, _index: int) -> torch.Tensor:
        self.seen.append([Path(path).stem for path in batch.image_path])
        self.shapes.add((batch.image.shape[1:], batch.depth_map.shape[1:], batch.gt_mask.shape[1:]))
        return self.number * batch.image.mean()

    def validation_step(self, batch: DepthBatch, _index: int) -> None:
        self.shapes.add((batch.image.shape[1:], batch.depth_map.shape[1:], batch.gt_mask.shape[1:]))

    def test_step(self, batch: DepthBatch, index: int) -> None:
        self.validation_step(batch, index)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(data: MVTec3DXYZ, **kwargs: Any) -> tuple[Recorder, Trainer]:
    trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, num_sanity_val_steps=0, **kwargs)
    model = Recorder()
    trainer.fit(model, datamodule=data)
    return model, trainer


def ready(root: Path, **kwargs: Any) -> MVTec3DXYZ:
    data = MVTec3DXYZ(root=root, **kwargs)
    data.setup()
    return data


def test_whole_training_split(mvtec_root: Path) -> None:
    data = ready(mvtec_root)
    assert (len(data.train_data), len(data.val_data), len(data.test_data)) == (6, 2, 7)
    assert data.training_files == [f"train/good/rgb/{number:03d}.png" for number in range(6)]
    assert "validation" in data.val_data.samples.image_path[0]
    assert not data.val_data.has_anomalous
    assert (data.name, data.category, data.task) == ("MVTec3DXYZ", "bagel", "segmentation")
    loader = data.train_dataloader()
    assert not isinstance(loader.sampler, KShotSampler)
    assert sorted(path for batch in loader for path in batch.image_path) == list(data.train_data.samples.image_path)


def test_batches_keep_the_contract(mvtec_root: Path) -> None:
    data = ready(mvtec_root, eval_batch_size=7)
    (batch,) = data.test_dataloader()
    assert isinstance(batch, DepthBatch)
    assert batch.image.shape == batch.depth_map.shape == (7, 3, 12, 16)
    assert batch.gt_mask.dtype == batch.gt_label.dtype == torch.bool
    assert batch.gt_label.sum() == 4
    assert torch.equal(batch.gt_mask.any(dim=(1, 2)), batch.gt_label)


def test_k_shots_are_those_drawn_and_logged(mvtec_root: Path, caplog: pytest.LogCaptureFixture) -> None:
    paths = [str(path) for path in (mvtec_root / "bagel/train/good/rgb").iterdir()]
    caplog.set_level(logging.INFO, logger=LOGGER)
    for k in (1, 2, 4):
        data = ready(mvtec_root, k_shot=k, shot_seed=3)
        drawn = choose_shots(paths, k, 3)
        assert list(data.train_data.samples.image_path) == sorted(drawn)
        assert f"bagel: {k} of 6 shots: {', '.join(data.training_files)}" in caplog.text
    assert len(data.val_data) == 2


def test_named_shots(mvtec_root: Path) -> None:
    for shots in (["004", "001"], ["001.png", "train/good/rgb/004.png"]):
        data = ready(mvtec_root, shots=shots, k_shot=2)
        assert data.training_files == ["train/good/rgb/001.png", "train/good/rgb/004.png"]
    with pytest.raises(ValueError, match=r"'44' \(nearest: 004"):
        ready(mvtec_root, shots=["44"])
    # named ones count more than the number that a config may hold besides
    assert len(ready(mvtec_root, shots=["004", "001"], k_shot=4).training_files) == 2
    with pytest.raises(ValueError, match=r"k_shot=7 but .*bagel/train/good/rgb holds 6 normal samples; lower k_shot"):
        ready(mvtec_root, k_shot=7)


def test_one_epoch_holds_the_whole_training(mvtec_root: Path) -> None:
    runs = []
    for _ in range(2):
        data = MVTec3DXYZ(root=mvtec_root, k_shot=4, train_batch_size=2)
        model, trainer = fit(data, max_steps=6, accumulate_grad_batches=2, enable_checkpointing=False)
        assert trainer.global_step == 6
        assert trainer.current_epoch == 1
        assert [len(batch) for batch in model.seen] == [2] * 12
        runs.append(model.seen)
        drawn = Counter(stem for batch in model.seen for stem in batch)
        assert list(drawn.values()) == [6, 6, 6, 6]
    assert runs[0] == runs[1]


def test_so_it_does_with_all_samples(mvtec_root: Path) -> None:
    """Validation sets the threshold behind the last step, not somewhere before it."""
    _, trainer = fit(MVTec3DXYZ(root=mvtec_root, train_batch_size=4), max_steps=5, enable_checkpointing=False)
    assert (trainer.global_step, trainer.current_epoch) == (5, 1)


def test_epochs_without_max_steps_differ(mvtec_root: Path) -> None:
    data = MVTec3DXYZ(root=mvtec_root, k_shot=3, train_batch_size=4)
    model, _ = fit(data, max_epochs=5, enable_checkpointing=False)
    assert [len(batch) for batch in model.seen] == [4] * 5
    assert len({tuple(batch) for batch in model.seen}) > 1


def test_the_models_resize_reaches_xyz_and_mask(mvtec_root: Path) -> None:
    data = MVTec3DXYZ(root=mvtec_root, k_shot=2, train_augmentations=v2.RandomHorizontalFlip(p=1))
    model, trainer = fit(data, max_steps=2, enable_checkpointing=False)
    trainer.test(model, datamodule=data, verbose=False)
    assert model.shapes == {(torch.Size([3, 6, 8]), torch.Size([3, 6, 8]), torch.Size([6, 8]))}
    # nearest neighbour keeps columns 0, 2, .. 14; the flip of the training samples comes first
    assert (data.train_data[0].depth_map[0, 0] * 100).round().tolist() == [15, 13, 11, 9, 7, 5, 3, 1]
    assert (data.test_data[0].depth_map[0, 0] * 100).round().tolist() == [0, 2, 4, 6, 8, 10, 12, 14]


@pytest.fixture
def checkpoint(mvtec_root: Path, tmp_path: Path) -> Path:
    _, trainer = fit(MVTec3DXYZ(root=mvtec_root, shots=["001", "004"]), max_steps=2, enable_checkpointing=False)
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    return tmp_path / "model.ckpt"


def test_checkpoint_names_the_shots(checkpoint: Path) -> None:
    content = torch.load(checkpoint, weights_only=True)
    files = ["train/good/rgb/001.png", "train/good/rgb/004.png"]
    assert content["MVTec3DXYZ"] == {"category": "bagel", "training_files": files}


@pytest.mark.parametrize(
    ("chosen", "now"),
    [
        ("bagel 001 004", None),
        ("bagel 001 005", "bagel: train/good/rgb/001.png, train/good/rgb/005.png"),
        ("apple 001 004", "apple: train/good/rgb/001.png, train/good/rgb/004.png"),
    ],
)
def test_other_shots_than_the_checkpoints_are_warned_of(
    mvtec_root: Path,
    checkpoint: Path,
    caplog: pytest.LogCaptureFixture,
    chosen: str,
    now: str | None,
) -> None:
    category, *shots = chosen.split()
    shutil.copytree(mvtec_root / "bagel", mvtec_root / "apple")
    data = MVTec3DXYZ(root=mvtec_root, category=category, shots=shots)
    caplog.set_level(logging.INFO, logger=LOGGER)
    trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False)
    trainer.test(Recorder(), datamodule=data, ckpt_path=checkpoint, verbose=False)
    assert "trained on bagel: train/good/rgb/001.png, train/good/rgb/004.png" in caplog.text
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert bool(warnings) == (now is not None)
    assert not warnings or (f"chose {now};" in warnings[0] and "Pass the same" in warnings[0])


def test_before_setup_there_is_nothing_to_save_or_compare(caplog: pytest.LogCaptureFixture) -> None:
    data = MVTec3DXYZ()
    assert data.state_dict() == {}
    data.load_state_dict({"category": "bagel", "training_files": [f"{number}.png" for number in range(20)]})
    assert not [record for record in caplog.records if record.name == LOGGER and record.levelno > logging.INFO]


def relative(data: MVTec3DXYZ, subset: AnomalibDataset) -> set[str]:
    return {Path(path).relative_to(data.root / data.category).as_posix() for path in subset.samples.image_path}


@pytest.mark.parametrize("mode", ["from_train", "same_as_test", "from_test", "none"])
def test_other_validation_modes_keep_the_shots(mvtec_root: Path, mode: str) -> None:
    shutil.rmtree(mvtec_root / "bagel" / "validation")
    data = ready(mvtec_root, k_shot=2, val_split_mode=mode)
    shots = set(data.training_files)
    assert len(shots) == 2
    assert hasattr(data, "val_data") == (mode != "none")
    if mode == "from_train":
        held_out = relative(data, data.val_data)
        assert len(held_out) == 2
        assert not held_out & shots


def test_training_without_validation(mvtec_root: Path) -> None:
    data = MVTec3DXYZ(root=mvtec_root, k_shot=2, val_split_mode="none")
    _, trainer = fit(data, max_steps=2, enable_checkpointing=False)
    assert trainer.global_step == 2
    assert sum(trainer.num_val_batches) == 0


def test_splits_are_seeded(mvtec_root: Path) -> None:
    splits = {tuple(ready(mvtec_root, val_split_mode="from_test").val_data.samples.image_path) for _ in range(5)}
    assert len(splits) == 1


def test_normal_test_samples_are_taken_beyond_the_shots(mvtec_root: Path) -> None:
    shutil.rmtree(mvtec_root / "bagel" / "test" / "good")
    data = ready(mvtec_root, k_shot=2, test_split_ratio=0.5)
    tested = relative(data, data.test_data)
    assert len(tested) == 4 + 2
    assert len(data.training_files) == 2
    assert not tested & set(data.training_files)


def test_shots_alone_cannot_be_split(mvtec_root: Path) -> None:
    with pytest.raises(ValueError, match=r"bagel: every training sample is a shot.*add good samples, lower k_shot"):
        ready(mvtec_root, k_shot=6, val_split_mode="from_train")


def test_normal_images_are_enough(mvtec_root: Path) -> None:
    shutil.rmtree(mvtec_root / "bagel" / "test")
    shutil.rmtree(mvtec_root / "bagel" / "validation")
    data = ready(mvtec_root, k_shot=2, test_split_mode="none", val_split_mode="from_train")
    assert (len(data.train_data), len(data.val_data), len(data.test_data)) == (2, 2, 0)


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("train/good", r"bagel/train/good/rgb: no such folder"),
        ("validation", r"bagel/validation: no such folder; .*val_split_mode to same_as_test"),
        ("test", r"bagel/test: no such folder; .*test_split_mode to none"),
        ("", r"bagel: no such category; .* found in .*: none"),
    ],
)
def test_missing_folders_name_the_remedy(mvtec_root: Path, folder: str, message: str) -> None:
    shutil.rmtree(mvtec_root / "bagel" / folder)
    with pytest.raises(FileNotFoundError, match=message):
        ready(mvtec_root, k_shot=2)


def test_a_tilers_collate_function_is_used(mvtec_root: Path) -> None:
    data = ready(mvtec_root, k_shot=2)
    data.external_collate_fn = len
    loader = data.train_dataloader()
    assert isinstance(loader, DataLoader)
    assert list(loader) == [4]


def test_arguments_parse_as_on_anomalibs_command_line(mvtec_root: Path) -> None:
    arguments = [
        "--data=anomalib_clip3dad.data.MVTec3DXYZ",
        f"--data.root={mvtec_root}",
        '--data.shots=["001", "004"]',
        "--data.k_shot=2",
        "--data.val_split_mode=from_test",
        "--data.train_augmentations=torchvision.transforms.v2.RandomHorizontalFlip",
        "--data.train_augmentations.p=1.0",
    ]
    data = from_command_line(arguments)
    data.setup()
    assert data.training_files == ["train/good/rgb/001.png", "train/good/rgb/004.png"]
    assert isinstance(data.train_data.augmentations, v2.RandomHorizontalFlip)
    assert data.val_split_mode == "from_test"
