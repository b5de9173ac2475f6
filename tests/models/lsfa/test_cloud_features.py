# SPDX-License-Identifier: Apache-2.0
from typing import Any

import pytest
import torch

from anomalib_clip3dad.errors import InputError
from anomalib_clip3dad.geometry.fpfh import organised_fpfh
from anomalib_clip3dad.geometry.surface_histograms import surface_histograms
from anomalib_clip3dad.models.lsfa.cloud_features import load_cloud_features
from anomalib_clip3dad.models.pooling import pool_to_grid
from tests.conftest import depth_batch


def test_they_are_those_of_the_geometry() -> None:
    xyz = depth_batch(2, 32, 32).depth_map
    foreground = xyz[:, 2] > 0
    foreground[0, :10] = False
    share = foreground.reshape(2, 4, 8, 4, 8).float().mean(dim=(2, 4))
    assert share.unique().numel() > 4
    expected = {
        "histograms": surface_histograms(xyz, foreground, (4, 4)) * share[:, None],
        "fpfh": pool_to_grid(organised_fpfh(xyz, foreground), (4, 4)),
    }
    for name, features in expected.items():
        module: Any = load_cloud_features(name, None)
        assert torch.equal(module(xyz, foreground, (4, 4)), features)
        assert module.width == features.shape[1]


def test_wrong_names_and_missing_weights_are_named() -> None:
    with pytest.raises(InputError, match="cloud_features='normals': give one of histograms, fpfh, pointmae"):
        load_cloud_features("normals", None)
    with pytest.raises(InputError, match="cloud_features='pointmae': give pointmae_weights=PATH"):
        load_cloud_features("pointmae", None)
    with pytest.raises(FileNotFoundError, match=r"pointmae_weights=none\.pth: no such file"):
        load_cloud_features("pointmae", "none.pth")


def test_patches_without_a_point_have_no_features() -> None:
    """Histograms are averaged over 3 x 3 patches, so that those beside the part would have some."""
    xyz = depth_batch(1, 32, 32).depth_map
    foreground = torch.zeros(1, 32, 32, dtype=torch.bool)
    foreground[:, :15, :16] = True
    module: Any = load_cloud_features("histograms", None)
    found = module(xyz, foreground & (xyz[:, 2] > 0), (4, 4)).abs().sum(dim=1)[0]
    assert found[:2, :2].all()
    assert not found[2:].any()
    assert not found[:, 2:].any()
