# SPDX-License-Identifier: Apache-2.0

from pathlib import Path
from typing import Any

import pytest
import torch

from anomalib_clip3dad.data import Toy3D
from tests.data.conftest import from_command_line

SMALL: dict[str, Any] = {"size": (64, 80), "num_train": 3, "num_validation": 1, "num_good": 2, "num_defects": 1}


def contents(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_setup_alone_writes_the_samples(tmp_path: Path) -> None:
    data = Toy3D(root=tmp_path / "Toy3D", k_shot=2, train_batch_size=2, **SMALL)
    data.setup()
    kinds = {path.name for path in (tmp_path / "Toy3D" / "gear" / "test").iterdir()}
    assert len(kinds) > 2
    assert (len(data.train_data), len(data.val_data)) == (2, 1)
    assert len(data.test_data) == 2 + len(kinds - {"good"})
    assert len(list((tmp_path / "Toy3D" / "gear" / "train" / "good" / "rgb").iterdir())) == 3
    batch = next(iter(data.train_dataloader()))
    assert batch.image.shape == batch.depth_map.shape == (2, 3, 64, 80)
    measured = batch.depth_map[:, 2] > 0
    assert measured.float().mean() > 0.5
    assert (batch.depth_map.isfinite() & (batch.depth_map.abs() < 5)).all()
    for item in data.test_data:
        assert bool(item.gt_mask.any()) == bool(item.gt_label)


def test_prepared_data_is_left_alone_and_depends_on_the_seed(tmp_path: Path) -> None:
    written = []
    for folder, seed in (("a", 0), ("b", 0), ("c", 1)):
        data = Toy3D(root=tmp_path / folder, category="knob", toy_seed=seed, **SMALL)
        data.prepare_data()
        times = {path: path.stat().st_mtime_ns for path in (tmp_path / folder).rglob("*")}
        data.prepare_data()
        data.setup()
        assert {path: path.stat().st_mtime_ns for path in (tmp_path / folder).rglob("*")} == times
        written.append(contents(tmp_path / folder))
    assert written[0] == written[1]
    assert written[0].keys() == written[2].keys()
    name = "knob/train/good/rgb/000.png"
    assert written[0][name] != written[2][name]


@pytest.mark.parametrize("change", [{"toy_seed": 1}, {"size": (72, 64)}, {"num_train": 4}])
def test_data_of_other_settings_is_not_used_unnoticed(tmp_path: Path, change: dict[str, Any]) -> None:
    Toy3D(root=tmp_path, **SMALL).setup()
    with pytest.raises(ValueError, match=r"gear was made with other settings .*: delete the folder or choose another"):
        Toy3D(root=tmp_path, **{**SMALL, **change}).setup()


def test_unknown_category(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'bagel'; choose one of .*gear"):
        Toy3D(root=tmp_path, category="bagel", **SMALL).setup()


def test_arguments_of_both_classes_parse(tmp_path: Path) -> None:
    arguments = [
        "--data=anomalib_clip3dad.data.Toy3D",
        f"--data.root={tmp_path}",
        "--data.category=ring",
        "--data.toy_seed=3",
        "--data.size=[64, 80]",
        "--data.num_train=4",
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
