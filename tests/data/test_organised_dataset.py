# SPDX-License-Identifier: Apache-2.0
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from anomalib.data.utils import LabelName
from torchvision.transforms.v2 import ColorJitter, Compose, RandomAffine, RandomHorizontalFlip

from anomalib_clip3dad.data.kept import KeptSamples
from anomalib_clip3dad.data.organised_dataset import OrganisedDataset

from .conftest import HEIGHT, WIDTH, write_sample


@pytest.fixture
def samples(tmp_path: Path) -> pd.DataFrame:
    """A normal sample, and an anomalous one with its mask."""
    write_sample(tmp_path / "good", 0)
    write_sample(tmp_path / "hole", 1, mask=True)
    rows = [
        {
            "path": str(tmp_path / kind),
            "split": "test",
            "label": kind,
            "image_path": str(tmp_path / kind / f"rgb/{number:03d}.png"),
            "depth_path": str(tmp_path / kind / f"xyz/{number:03d}.tiff"),
            "mask_path": str(tmp_path / kind / f"gt/{number:03d}.png") if number else "",
            "label_index": number,
        }
        for number, kind in enumerate(("good", "hole"))
    ]
    return pd.DataFrame(rows)


def test_a_sample_is_what_its_files_hold(samples: pd.DataFrame) -> None:
    good, hole = OrganisedDataset(samples)
    assert (int(good.gt_label), int(hole.gt_label)) == (0, 1)
    assert not good.gt_mask.any()
    assert hole.gt_mask[HEIGHT // 2 :, : WIDTH // 2].all()
    assert hole.gt_mask.sum() == HEIGHT * WIDTH // 4
    assert torch.allclose(hole.image[0, 0] * 255, 5.0 * torch.arange(WIDTH))
    assert torch.allclose(hole.depth_map[1, :, 0], 0.01 * torch.arange(HEIGHT))
    assert hole.depth_path.endswith("001.tiff")


def test_geometry_moves_all_three_and_colours_the_image_alone(samples: pd.DataFrame) -> None:
    flips = Compose([RandomHorizontalFlip(1.0), ColorJitter(brightness=(0.5, 0.5))])
    plain, moved = OrganisedDataset(samples)[1], OrganisedDataset(samples, flips)[1]
    assert torch.equal(moved.depth_map, plain.depth_map.flip(-1))
    assert torch.equal(moved.gt_mask, plain.gt_mask.flip(-1))
    assert torch.allclose(moved.image, 0.5 * plain.image.flip(-1))
    assert type(moved.depth_map) is torch.Tensor


def test_what_comes_in_from_outside_was_not_measured(samples: pd.DataFrame) -> None:
    shift = RandomAffine(0, translate=(0.5, 0.5))
    torch.manual_seed(3)
    moved = OrganisedDataset(samples, shift)[1]
    measured = moved.depth_map[2] > 0
    assert 0 < measured.sum() < measured.numel()
    # red says which column a pixel is of, and so does X: no point is made up between two
    assert torch.allclose(moved.depth_map[0][measured], moved.image[0][measured] * 255 / 5 * 0.01, atol=1e-6)
    assert (moved.depth_map[:, ~measured] == 0).all()


@pytest.mark.parametrize(
    ("change", "task"),
    [({}, "segmentation"), ({"mask_path": ""}, "classification"), ({"label_index": int(LabelName.UNKNOWN)}, None)],
)
def test_one_missing_mask_makes_it_classification(samples: pd.DataFrame, change: dict, task: str | None) -> None:
    for name, value in change.items():
        samples.loc[1, name] = value
    dataset = OrganisedDataset(samples)
    if task:
        assert dataset.task.value == task
        assert (dataset[1].gt_mask is None) == (task == "classification")
    else:
        assert dataset[1].gt_label is None


def test_kept_samples_are_read_once(samples: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    there = OrganisedDataset.read_files

    def read_files(self: OrganisedDataset, row: Any) -> Any:
        read.append(row.label)
        return there(self, row)

    monkeypatch.setattr(OrganisedDataset, "read_files", read_files)
    dataset = OrganisedDataset(samples)
    dataset.kept = KeptSamples()
    twice = [dataset[0], dataset[1], dataset[0], dataset[1]]
    assert read == ["good", "hole"]
    assert torch.equal(twice[0].image, twice[2].image)
    assert torch.equal(twice[1].gt_mask, twice[3].gt_mask)
