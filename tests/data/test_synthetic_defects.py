# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import torch

from anomalib_clip3dad.data.folder_3d import Folder3DXYZ
from anomalib_clip3dad.data.organised_dataset import OrganisedDataset
from anomalib_clip3dad.data.synthetic_defects import SyntheticDefects
from anomalib_clip3dad.geometry import foreground_mask
from tests.data.conftest import write_parts


def make(folder: Path, seed: int = 0) -> tuple[OrganisedDataset, SyntheticDefects]:
    write_parts(folder, 4)
    data = Folder3DXYZ(folder, k_shot=None, val_split_mode="none", test_split_mode="none")
    data.setup()
    return data.train_data, SyntheticDefects(data.train_data, seed)


def test_each_sample_as_it_is_and_with_an_anomaly_inside_its_mask(tmp_path: Path) -> None:
    good, dataset = make(tmp_path)
    assert len(dataset) == 8
    changed_clouds = changed_colours = 0
    for index in range(4):
        original, same, faulty = good[index], dataset[index], dataset[4 + index]
        assert torch.equal(original.image, same.image)
        assert torch.equal(original.depth_map, same.depth_map)
        assert (int(same.gt_label), int(faulty.gt_label)) == (0, 1)
        assert not same.gt_mask.any()
        mask = faulty.gt_mask.bool()
        assert mask.any()
        assert not (mask & ~foreground_mask(original.depth_map[None])[0]).any()
        assert torch.equal(faulty.image[:, ~mask], original.image[:, ~mask])
        assert torch.equal(faulty.depth_map[:, ~mask], original.depth_map[:, ~mask])
        changed_colours += bool((faulty.image != original.image).any())
        changed_clouds += bool((faulty.depth_map != original.depth_map).any())
    assert changed_clouds
    assert changed_colours


def test_every_pass_sees_the_same_anomalies_and_every_seed_others(tmp_path: Path) -> None:
    good, dataset = make(tmp_path)
    torch.manual_seed(5)  # whatever else draws
    again, other = SyntheticDefects(good, 0), SyntheticDefects(good, 1)
    for index in range(4, 8):
        assert torch.equal(dataset[index].gt_mask, again[index].gt_mask)
        assert torch.equal(dataset[index].image, again[index].image)
        assert not torch.equal(dataset[index].gt_mask, other[index].gt_mask)


def test_pictures_get_names_of_their_own(tmp_path: Path) -> None:
    _, dataset = make(tmp_path)
    paths = [str(dataset[index].image_path) for index in range(8)]
    assert len(set(paths)) == 8
    assert Path(paths[4]).parts[-3:] == ("rgb", "synthetic", "000.png")
