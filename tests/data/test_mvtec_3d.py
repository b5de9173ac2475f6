# SPDX-License-Identifier: Apache-2.0

"""The layout of MVTec 3D-AD: what is read, and what the data module makes of it."""

import copy
import logging
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from anomalib.data import AnomalibDataset, DepthBatch, DepthItem
from anomalib.data.utils import Split, random_split, split_by_label
from anomalib.pre_processing import PreProcessor
from lightning.pytorch import LightningModule, Trainer
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from anomalib_clip3dad.data import KShotSampler, MVTec3DXYZ, MVTec3DXYZDataset, choose_shots
from anomalib_clip3dad.data.mvtec_3d import find_category, list_samples
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
    assert batch.image.shape == batch.depth_map.shape == (7, 3, 24, 32)
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
    # nearest neighbour keeps columns 0, 4, .. 28; the flip of the training samples comes first
    assert (data.train_data[0].depth_map[0, 0] * 100).round().tolist() == [31, 27, 23, 19, 15, 11, 7, 3]
    assert (data.test_data[0].depth_map[0, 0] * 100).round().tolist() == [0, 4, 8, 12, 16, 20, 24, 28]


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
    records = [record for record in caplog.records if record.name == LOGGER and record.levelno == logging.WARNING]
    warnings = [record.getMessage() for record in records]
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


@pytest.fixture
def bagel_test(mvtec_root: Path) -> MVTec3DXYZDataset:
    return MVTec3DXYZDataset(mvtec_root, "bagel", "test")


def read_codes(item: DepthItem) -> tuple[torch.Tensor, torch.Tensor]:
    """Column and row of each pixel, as the image says and as XYZ says; both (2, H, W), see conftest."""
    assert item.depth_map is not None
    return (item.image[:2] * 51).round(), (item.depth_map[:2] * 100).round()


def check_table(samples: pd.DataFrame, length: int) -> None:
    assert len(samples) == length
    for column in ("path", "split", "label", "image_path", "depth_path", "mask_path"):
        assert all(type(value) is str for value in samples[column])
    normal = samples[samples.label_index == 0]
    assert (normal.mask_path == "").all()
    assert all(Path(path).is_file() for path in samples[samples.label_index == 1].mask_path)


def test_table(mvtec_root: Path) -> None:
    samples = list_samples(mvtec_root / "bagel", Split.TEST)
    assert list(samples.columns) == [
        "path", "split", "label", "image_path", "depth_path", "mask_path", "label_index",
    ]  # fmt: skip
    check_table(samples, 7)
    first, last = samples.iloc[0], samples.iloc[-1]
    kind = mvtec_root / "bagel" / "test" / "crack"
    assert list(first) == [
        str(mvtec_root / "bagel"), "test", "crack", str(kind / "rgb" / "000.png"), str(kind / "xyz" / "000.tiff"),
        str(kind / "gt" / "000.png"), 1,
    ]  # fmt: skip
    assert (last.label, last.label_index, last.mask_path) == ("hole", 1, str(kind.parent / "hole" / "gt" / "001.png"))
    assert list(samples.label_index) == [1, 1, 0, 0, 0, 1, 1]


@pytest.mark.parametrize(("split", "length"), [("train", 6), ("val", 2), (Split.TEST, 7)])
def test_splits(mvtec_root: Path, split: Split | str, length: int) -> None:
    dataset = MVTec3DXYZDataset(mvtec_root, "bagel", split)
    check_table(dataset.samples, length)
    assert set(dataset.samples.split) == {Split(split).value}
    assert dataset.category == "bagel"


def test_table_survives_what_anomalib_does_with_it(bagel_test: MVTec3DXYZDataset) -> None:
    normal, anomalous = split_by_label(bagel_test)
    check_table(normal.samples, 3)
    check_table(anomalous.samples, 4)
    check_table((anomalous + normal).samples, 7)
    check_table(copy.deepcopy(bagel_test).samples, 7)
    check_table((bagel_test.subsample([]) + normal).samples, 3)
    parts = random_split(bagel_test, 0.5, label_aware=True, seed=0)
    check_table(parts[0].samples, 4)
    check_table(parts[1].samples, 3)
    for dataset in (anomalous + normal, *parts):
        assert dataset.task == "segmentation"
        assert [dataset[index].depth_map.shape for index in range(len(dataset))] == [(3, 24, 32)] * len(dataset)


def test_item(bagel_test: MVTec3DXYZDataset, mvtec_root: Path) -> None:
    item = bagel_test[1]
    assert isinstance(item, DepthItem)
    assert item.image.shape == item.depth_map.shape == (3, 24, 32)
    assert item.image.dtype == item.depth_map.dtype == torch.float32
    assert type(item.depth_map) is torch.Tensor
    assert item.image[:, 3, 5].tolist() == pytest.approx([25 / 255, 15 / 255, 1 / 255])
    assert item.depth_map[:, 3, 5].tolist() == pytest.approx([0.05, 0.03, 2.0])
    assert item.gt_mask.dtype == item.gt_label.dtype == torch.bool
    assert item.gt_mask[12:, :16].all()
    assert item.gt_mask.sum() == 12 * 16
    assert item.gt_label.item() is True
    crack = mvtec_root / "bagel" / "test" / "crack"
    assert item.image_path == str(crack / "rgb" / "001.png")
    assert item.depth_path == str(crack / "xyz" / "001.tiff")
    assert item.mask_path == str(crack / "gt" / "001.png")


def test_normal_item(bagel_test: MVTec3DXYZDataset) -> None:
    item = bagel_test[2]
    assert item.gt_label.item() is False
    assert item.gt_mask.shape == (24, 32)
    assert not item.gt_mask.any()
    assert not item.mask_path


def test_flip_moves_all_three(bagel_test: MVTec3DXYZDataset) -> None:
    plain = bagel_test[1]
    bagel_test.augmentations = v2.RandomHorizontalFlip(p=1)
    item = bagel_test[1]
    for name in ("image", "depth_map", "gt_mask"):
        assert torch.equal(getattr(item, name), getattr(plain, name).flip(-1))
    assert type(item.depth_map) is torch.Tensor


@pytest.mark.parametrize(
    "transform",
    [v2.RandomCrop((5, 7)), v2.RandomAffine(0, translate=(0.3, 0.3)), v2.RandomVerticalFlip(), v2.CenterCrop((6, 6))],
)
def test_geometric_transforms_use_one_draw(bagel_test: MVTec3DXYZDataset, transform: v2.Transform) -> None:
    bagel_test.augmentations = transform
    seen = set()
    for _ in range(8):
        item = bagel_test[1]
        of_image, of_xyz = read_codes(item)
        assert torch.equal(of_image, of_xyz)
        columns, rows = of_xyz
        measured = item.depth_map[2] > 0
        assert torch.equal(item.gt_mask, (rows >= 12) & (columns < 16) & measured)
        seen.add(tuple(of_xyz.flatten().tolist()))
    assert (len(seen) > 1) != isinstance(transform, v2.CenterCrop)


def test_rotation_brings_in_unmeasured_points(bagel_test: MVTec3DXYZDataset) -> None:
    bagel_test.augmentations = v2.RandomRotation((45, 45))
    xyz = bagel_test[1].depth_map
    assert xyz[:, 0, 0].tolist() == [0.0, 0.0, 0.0]
    # nearest neighbour: no depth between the part at 2 m and nothing at 0
    assert [round(z, 3) for z in xyz[2].unique().tolist()] == [0.0, 2.0, 2.001]


@pytest.mark.parametrize("transform", [v2.ColorJitter(0.5, 0.5, 0.5), v2.GaussianBlur(3), v2.RandomInvert(p=1)])
def test_photometric_transforms_change_the_image_only(bagel_test: MVTec3DXYZDataset, transform: v2.Transform) -> None:
    plain = bagel_test[1]
    bagel_test.augmentations = transform
    item = bagel_test[1]
    assert not torch.equal(item.image, plain.image)
    assert torch.equal(item.depth_map, plain.depth_map)
    assert torch.equal(item.gt_mask, plain.gt_mask)


@pytest.mark.parametrize("size", [(6, 8), (9, 10), (24, 20), (7, 7)])
def test_resize_makes_up_no_points(bagel_test: MVTec3DXYZDataset, size: tuple[int, int]) -> None:
    plain = bagel_test[1]
    bagel_test.augmentations = v2.Compose([v2.Resize(size)])
    item = bagel_test[1]
    assert item.image.shape == item.depth_map.shape == (3, *size)
    assert item.gt_mask.shape == size
    rows = [row * 24 // size[0] for row in range(size[0])]
    columns = [column * 32 // size[1] for column in range(size[1])]
    assert torch.equal(item.depth_map, plain.depth_map[:, rows][:, :, columns])
    assert torch.equal(item.gt_mask, plain.gt_mask[rows][:, columns])
    # the image is interpolated as the transform says, which gives values that no pixel had
    assert torch.equal(item.image, v2.Resize(size)(plain.image))
    assert not torch.equal(item.image, plain.image[:, rows][:, :, columns])


def test_collate(bagel_test: MVTec3DXYZDataset) -> None:
    batch = bagel_test.collate_fn([bagel_test[index] for index in range(7)])
    assert isinstance(batch, DepthBatch)
    assert batch.image.shape == batch.depth_map.shape == (7, 3, 24, 32)
    assert batch.depth_map.dtype == torch.float32
    assert batch.gt_mask.shape == (7, 24, 32)
    assert batch.gt_label.tolist() == [True, True, False, False, False, True, True]
    assert batch.depth_map[:, 2, 0, 0].tolist() == [1, 2, 1, 2, 3, 1, 2]


def test_only_visible_png_are_samples(mvtec_root: Path) -> None:
    rgb = mvtec_root / "bagel" / "train" / "good" / "rgb"
    for name in ("._000.png", "Thumbs.db", "notes.txt"):
        (rgb / name).write_text("no image")
    (mvtec_root / "bagel" / "test" / ".ipynb_checkpoints").mkdir()
    (mvtec_root / "bagel" / "train" / "crack").mkdir()
    assert len(list_samples(mvtec_root / "bagel", Split.TRAIN)) == 6
    assert len(list_samples(mvtec_root / "bagel", Split.TEST)) == 7


def test_missing_root_and_category(mvtec_root: Path) -> None:
    shutil.copytree(mvtec_root / "bagel", mvtec_root / "apple")
    (mvtec_root / "not_a_category").mkdir()
    assert find_category(mvtec_root, "apple") == mvtec_root / "apple"
    with pytest.raises(FileNotFoundError, match=r"bagle: no such category; .* found in .*MVTec3D: apple, bagel$"):
        find_category(mvtec_root, "bagle")
    with pytest.raises(FileNotFoundError, match=r"bagel is a category itself: pass its parent as root= and bagel as"):
        find_category(mvtec_root / "bagel", "bagel")
    with pytest.raises(FileNotFoundError, match=r"nowhere: no such data set folder; .*mvtec\.com.*nowhere/bagel/train"):
        find_category(mvtec_root / "nowhere", "bagel")


@pytest.mark.parametrize(
    ("split", "folder", "remedy"),
    [
        (Split.TRAIN, "train", "put normal samples into good/rgb"),
        (Split.VAL, "validation", "set val_split_mode to same_as_test, from_test, from_train or none"),
        (Split.TEST, "test", "set test_split_mode to none"),
    ],
)
def test_missing_and_empty_splits_name_the_remedy(mvtec_root: Path, split: Split, folder: str, remedy: str) -> None:
    for image in (mvtec_root / "bagel" / folder).glob("*/rgb/*.png"):
        image.unlink()
    with pytest.raises(FileNotFoundError, match=rf"bagel/{folder}: no image .*{remedy}"):
        list_samples(mvtec_root / "bagel", split)
    shutil.rmtree(mvtec_root / "bagel" / folder)
    with pytest.raises(FileNotFoundError, match=rf"bagel/{folder}: no such folder; .*{remedy}"):
        list_samples(mvtec_root / "bagel", split)


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("crack/xyz/001.tiff", r"crack/rgb/001\.png: no 3D file of that name; add 001\{\.tiff,.* or remove"),
        ("hole/gt/000.png", r"hole/rgb/000\.png: no mask 000\{\.png,.* in .*hole/gt; add it, or put normal"),
    ],
)
def test_missing_files_are_named(mvtec_root: Path, missing: str, message: str) -> None:
    (mvtec_root / "bagel" / "test" / missing).unlink()
    with pytest.raises(FileNotFoundError, match=message):
        MVTec3DXYZDataset(mvtec_root, "bagel", "test")


def test_a_kind_without_rgb_is_named(mvtec_root: Path) -> None:
    shutil.rmtree(mvtec_root / "bagel" / "test" / "hole" / "rgb")
    with pytest.raises(FileNotFoundError, match=r"hole/rgb: no such folder; each KIND"):
        MVTec3DXYZDataset(mvtec_root, "bagel", "test")


def test_a_mask_of_another_size_is_named(bagel_test: MVTec3DXYZDataset, mvtec_root: Path) -> None:
    Image.fromarray(np.eye(6, 8, dtype=np.uint8)).save(mvtec_root / "bagel" / "test" / "crack" / "gt" / "000.png")
    with pytest.raises(ValueError, match=r"crack/rgb/000\.png has H x W = 24 x 32 but .*crack/gt/000\.png has 6 x 8"):
        bagel_test[0]
