# SPDX-License-Identifier: Apache-2.0
import numpy as np
import torch

from anomalib_clip3dad.visualization.relief import relief
from tests.conftest import bumpy_part


def test_height_is_above_the_tilted_plane() -> None:
    _, xyz = bumpy_part(120, 120)
    values, label = relief(xyz)
    assert label == "height above the plane, m"
    known = np.isfinite(values)
    # a bump of 30 mm with a radius of 0.3 of the side
    assert 0.027 < np.nanmax(values) < 0.031
    assert np.nanmin(values) > 0
    assert known[60, 60] == bool(xyz[2, 60, 60] > 0)
    assert not known[5, 5]
    assert known[xyz[2].numpy() == 0].sum() == 0
    assert abs(known.mean() - np.pi * 0.3**2) < 0.08


def test_without_a_plane_it_is_the_depth() -> None:
    _, xyz = bumpy_part(60, 60)
    rows, columns = torch.meshgrid(torch.arange(60), torch.arange(60), indexing="ij")
    xyz = xyz * ((rows - 30) ** 2 + (columns - 30) ** 2 < 12**2)
    values, label = relief(xyz)
    assert label == "depth, m"
    measured = xyz[2].numpy() > 0
    assert np.array_equal(np.isfinite(values), measured)
    assert np.allclose(values[measured], xyz[2].numpy()[measured])


def test_a_cloud_without_a_point_has_none() -> None:
    assert np.isnan(relief(torch.zeros(3, 30, 31)).values).all()
