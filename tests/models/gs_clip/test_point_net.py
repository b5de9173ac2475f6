# SPDX-License-Identifier: Apache-2.0
"""PointNet++ against loops."""

from pathlib import Path

import pytest
import torch

from anomalib_clip3dad.errors import InputError, MissingFileError
from anomalib_clip3dad.geometry.sampling import farthest_points
from anomalib_clip3dad.models.gs_clip.point_net import PointNet2, SetAbstraction, sample_points
from tests.conftest import bumpy_part


def cloud(seed: int = 0, side: int = 48) -> tuple[torch.Tensor, torch.Tensor]:
    xyz = bumpy_part(side, side, seed)[1][None]
    return xyz, xyz[:, 2] > 0


def test_points_are_of_the_part_in_the_unit_sphere_and_the_same_each_time() -> None:
    xyz, part = cloud()
    part[:, :10] = False
    points = sample_points(xyz, part, 1500)
    assert torch.equal(points, sample_points(xyz, part, 1500))
    radius = points.norm(dim=2)
    assert 0.9 < radius.max() <= 1.001
    chosen = xyz[0][:, part[0]].T
    centre = chosen.mean(dim=0)
    unit = (chosen - centre) / (chosen - centre).norm(dim=1).max()
    # another centre and radius than that of all points, so only near
    assert torch.cdist(points[0], unit).amin(dim=1).max() < 0.05
    assert torch.equal(points * 1024, (points * 1024).round())


def test_the_first_points_are_those_that_cover_the_cloud() -> None:
    xyz, part = cloud(1)
    points = sample_points(xyz, part, 1500)[0]
    order = farthest_points(points, 1024)
    assert torch.equal(points[order], points[:1024])
    everything, again = (torch.unique(each, dim=0) for each in (points, points[torch.randperm(1500)]))
    assert torch.equal(everything, again)


def test_few_points_are_repeated_and_none_are_zeros() -> None:
    xyz, part = cloud(side=24)
    few = torch.zeros_like(part)
    few[0, 10:14, 10:15] = part[0, 10:14, 10:15]
    points = sample_points(xyz, few, 64)
    assert len(torch.unique(points[0], dim=0)) == few.sum()
    assert not sample_points(xyz, torch.zeros_like(part), 64).any()


def test_unorganised_clouds_are_sampled_alike() -> None:
    xyz, part = cloud(2)
    listed = xyz.reshape(1, 3, 1, -1)
    found = sample_points(listed, part.reshape(1, 1, -1), 1100)
    assert torch.equal(found, sample_points(xyz, part, 1100))


def test_a_batch_is_its_samples() -> None:
    one, other = cloud(0), cloud(3)
    together = sample_points(*(torch.cat(pair) for pair in zip(one, other, strict=True)), 1100)
    assert torch.equal(together, torch.cat([sample_points(*one, 1100), sample_points(*other, 1100)]))
    network = PointNet2().eval()
    with torch.no_grad():
        found, alone = network(together), network(together[1:])
    torch.testing.assert_close(found.points[1:], alone.points)
    torch.testing.assert_close(found.cloud[1:], alone.cloud)
    assert found.points.shape == (2, 1100, 128)
    assert found.cloud.shape == (2, 512)


def test_set_abstraction_against_a_loop() -> None:
    layer = SetAbstraction(4, 0.5, (6, 8)).eval()
    points, features = torch.rand(1, 40, 3), torch.rand(1, 40, 4)
    with torch.no_grad():
        found = layer(points, features, 7)
        for centre in range(7):
            away = (points[0] - points[0, centre]).norm(dim=1)
            near = [i for i in range(40) if away[i] <= 0.5][:32]
            rows = torch.cat([points[0, near] - points[0, centre], features[0, near]], dim=1)
            for convolution, norm in zip(layer.mlp_convs, layer.mlp_bns, strict=True):
                rows = rows @ convolution.weight[:, :, 0, 0].T + convolution.bias
                rows = (rows / (1 + norm.eps) ** 0.5).relu()  # the statistics at the start
            torch.testing.assert_close(found[0, centre], rows.amax(dim=0))


def test_size_is_that_of_the_published_network() -> None:
    assert 0.96e6 < sum(value.numel() for value in PointNet2().parameters()) < 0.98e6


def test_published_weights_are_read(tmp_path: Path) -> None:
    """As in the file for S3DIS: under `model_state_dict`, with the layer of classes."""
    torch.manual_seed(1)
    other = PointNet2()
    state = other.state_dict() | {"conv2.weight": torch.rand(13, 128, 1), "conv2.bias": torch.rand(13)}
    torch.save({"epoch": 3, "model_state_dict": state}, tmp_path / "best_model.pth")
    read = PointNet2(tmp_path / "best_model.pth").state_dict()
    assert all(torch.equal(value, read[name]) for name, value in other.state_dict().items())
    with pytest.raises(MissingFileError, match="no such file"):
        PointNet2(tmp_path / "nowhere.pth")
    del state["fp1.mlp_convs.0.weight"]
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(InputError, match=r"fp1\.mlp_convs\.0\.weight is not in it"):
        PointNet2(tmp_path / "other.pth")
