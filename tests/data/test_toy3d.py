# SPDX-License-Identifier: Apache-2.0

import json
from pathlib import Path

import pytest
import torch

from anomalib_clip3dad.data import Toy3D
from tests.data.conftest import from_command_line


def test_setup_alone_writes_the_samples_of_its_settings(tmp_path: Path) -> None:
    settings = {"toy_seed": 5, "size": (64, 80), "num_train": 3, "num_validation": 1, "num_good": 2, "num_defects": 1}
    data = Toy3D(root=tmp_path, k_shot=2, train_batch_size=2, **settings)
    data.setup()
    noted = json.loads((tmp_path / "gear" / "toy3d.json").read_text())["settings"]
    counts = {"train": 3, "validation": 1, "good": 2, "defects": 1}
    assert noted == {"generator": noted["generator"], "seed": 5, "size": [64, 80], **counts}
    assert (len(data.train_data), len(data.val_data), len(data.test_data)) == (2, 1, 2 + 4)
    batch = next(iter(data.train_dataloader()))
    assert batch.image.shape == batch.depth_map.shape == (2, 3, 64, 80)
    measured = batch.depth_map[:, 2] > 0
    assert measured.float().mean() > 0.5
    assert (batch.depth_map.isfinite() & (batch.depth_map.abs() < 5)).all()
    for item in data.test_data:
        assert bool(item.gt_mask.any()) == bool(item.gt_label)
    with pytest.raises(ValueError, match=r"gear was made with other settings \(seed = 5, wanted 1\)"):
        Toy3D(root=tmp_path, **{**settings, "toy_seed": 1}).setup()


def test_arguments_of_both_classes_parse(tmp_path: Path) -> None:
    arguments = [
        "--data=anomalib_clip3dad.data.Toy3D",
        f"--data.root={tmp_path}",
        "--data.category=ring",
        "--data.toy_seed=3",
        "--data.size=[64, 80]",
        "--data.num_train=3",
        "--data.num_validation=0",
        "--data.num_good=1",
        "--data.num_defects=1",
        "--data.k_shot=2",
        "--data.shot_seed=5",
        "--data.eval_batch_size=3",
        "--data.val_split_mode=from_train",
    ]
    data = from_command_line(arguments)
    assert (data.k_shot, data.shot_seed, data.eval_batch_size, data.val_split_mode) == (2, 5, 3, "from_train")
    data.setup()
    assert (data.category, data.toy_seed, len(data.train_data)) == ("ring", 3, 2)
    assert data.test_data[0].image.shape == torch.Size([3, 64, 80])
    with pytest.raises(Exception, match="k_shots"):
        from_command_line([*arguments, "--data.k_shots=2"])
