# SPDX-License-Identifier: Apache-2.0

import copy
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from anomalib.data import DepthBatch, DepthItem
from anomalib.data.utils import Split, random_split, split_by_label
from PIL import Image
from torchvision.transforms import v2

from anomalib_clip3dad.data import MVTec3DXYZDataset
from anomalib_clip3dad.data.mvtec_3d_dataset import find_category, list_samples


@pytest.fixture
def bagel_test(mvtec_root: Path) -> MVTec3DXYZDataset:
    return MVTec3DXYZDataset(mvtec_root, "bagel", "test")


def read_codes(item: DepthItem) -> tuple[torch.Tensor, torch.Tensor]:
    """Column and row of each pixel, as the picture says and as XYZ says; both (2, H, W), see conftest."""
    assert item.depth_map is not None
    return (item.image[:2] * 25.5).round(), (item.depth_map[:2] * 100).round()


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
        assert [dataset[index].depth_map.shape for index in range(len(dataset))] == [(3, 12, 16)] * len(dataset)


def test_item(bagel_test: MVTec3DXYZDataset, mvtec_root: Path) -> None:
    item = bagel_test[1]
    assert isinstance(item, DepthItem)
    assert item.image.shape == item.depth_map.shape == (3, 12, 16)
    assert item.image.dtype == item.depth_map.dtype == torch.float32
    assert type(item.depth_map) is torch.Tensor
    assert item.image[:, 3, 5].tolist() == pytest.approx([50 / 255, 30 / 255, 1 / 255])
    assert item.depth_map[:, 3, 5].tolist() == pytest.approx([0.05, 0.03, 2.0])
    assert item.gt_mask.dtype == item.gt_label.dtype == torch.bool
    assert item.gt_mask[6:, :8].all()
    assert item.gt_mask.sum() == 6 * 8
    assert item.gt_label.item() is True
    crack = mvtec_root / "bagel" / "test" / "crack"
    assert item.image_path == str(crack / "rgb" / "001.png")
    assert item.depth_path == str(crack / "xyz" / "001.tiff")
    assert item.mask_path == str(crack / "gt" / "001.png")


def test_normal_item(bagel_test: MVTec3DXYZDataset) -> None:
    item = bagel_test[2]
    assert item.gt_label.item() is False
    assert item.gt_mask.shape == (12, 16)
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
        assert torch.equal(item.gt_mask, (rows >= 6) & (columns < 8) & measured)
        seen.add(tuple(of_xyz.flatten().tolist()))
    assert (len(seen) > 1) != isinstance(transform, v2.CenterCrop)


def test_rotation_brings_in_unmeasured_points(bagel_test: MVTec3DXYZDataset) -> None:
    bagel_test.augmentations = v2.RandomRotation((45, 45))
    xyz = bagel_test[1].depth_map
    assert xyz[:, 0, 0].tolist() == [0.0, 0.0, 0.0]
    # nearest neighbour: no depth between the part at 2 m and nothing at 0
    assert xyz[2].unique().tolist() == [0.0, 2.0]


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
    rows = [row * 12 // size[0] for row in range(size[0])]
    columns = [column * 16 // size[1] for column in range(size[1])]
    assert torch.equal(item.depth_map, plain.depth_map[:, rows][:, :, columns])
    assert torch.equal(item.gt_mask, plain.gt_mask[rows][:, columns])
    # the image is interpolated as the transform says, which gives values that no pixel had
    assert torch.equal(item.image, v2.Resize(size)(plain.image))
    assert not torch.equal(item.image, plain.image[:, rows][:, :, columns])


def test_collate(bagel_test: MVTec3DXYZDataset) -> None:
    batch = bagel_test.collate_fn([bagel_test[index] for index in range(7)])
    assert isinstance(batch, DepthBatch)
    assert batch.image.shape == batch.depth_map.shape == (7, 3, 12, 16)
    assert batch.depth_map.dtype == torch.float32
    assert batch.gt_mask.shape == (7, 12, 16)
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
        ("crack/xyz/001.tiff", r"crack/xyz/001\.tiff: no XYZ file for .*crack/rgb/001\.png; add it or remove"),
        ("hole/gt/000.png", r"hole/gt/000\.png: no ground truth mask for the anomalous .*hole/rgb/000\.png; add it"),
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
    Image.fromarray(np.zeros((6, 8), np.uint8)).save(mvtec_root / "bagel" / "test" / "crack" / "gt" / "000.png")
    with pytest.raises(ValueError, match=r"crack/rgb/000\.png has H x W = 12 x 16 but .*crack/gt/000\.png has 6 x 8"):
        bagel_test[0]
