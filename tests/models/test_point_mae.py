# SPDX-License-Identifier: Apache-2.0
"""Random weights of the real architecture, against anomalib's own pipeline and loops."""

from pathlib import Path

import pytest
import torch
from anomalib.models.image.cfm.components import PointTransformer
from anomalib.models.image.cfm.utils import interpolating_points
from torch import Tensor

from anomalib_clip3dad.errors import InputError
from anomalib_clip3dad.models.point_mae import PointMae
from anomalib_clip3dad.models.pooling import pool_to_grid
from tests.conftest import bumpy_part


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    state = {f"module.MAE_encoder.{name}": value for name, value in PointTransformer(8, 16).state_dict().items()}
    file = tmp_path_factory.mktemp("pointmae") / "pretrain.pth"
    torch.save({"base_model": state}, file)
    return file


def batch(count: int = 2) -> tuple[Tensor, Tensor]:
    xyz = torch.stack([bumpy_part(32, 32, seed)[1] for seed in range(count)])
    foreground = xyz[:, 2] > 0
    for row in range(count):
        foreground[row, : 4 + 6 * row] = False  # another mask for each
    return xyz, foreground


def test_with_a_group_for_each_point_it_is_anomalibs_network(weights: Path) -> None:
    """Only where groups start differs, and with all points as centres they are the same."""
    xyz = torch.rand(1, 3, 6, 7)  # metres from the origin, where anomalib's distances are exact enough
    foreground = torch.ones(1, 6, 7, dtype=torch.bool)
    model = PointMae(weights, group_size=5, num_group=42)
    reference = PointTransformer(5, 42).eval()
    reference.load_model_from_ckpt(str(weights))
    points = xyz.flatten(2)
    features, centres, _, _ = reference(points)
    pixels = interpolating_points(points, centres.transpose(1, 2), features)
    expected = pool_to_grid(pixels.unflatten(2, (6, 7)), (2, 2))
    found = model(xyz, foreground, (2, 2))
    assert found.shape == (1, 1152, 2, 2)
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)


def test_each_sample_has_its_own_mask_and_nothing_is_random(weights: Path) -> None:
    model = PointMae(weights, group_size=8, num_group=16).train()
    xyz, foreground = batch()
    together = model(xyz, foreground, (4, 4))
    torch.manual_seed(1)
    for row in range(2):
        one = slice(row, row + 1)
        assert torch.equal(model(xyz[one], foreground[one], (4, 4)), together[one])
        other = xyz[one].where(foreground[one, None], 0.3)  # what is not foreground does not count
        assert torch.equal(model(other, foreground[one], (4, 4)), together[one])
    assert not together[1, :, 0].any()
    assert together[:, :, 3].any(dim=1).all()


def test_clouds_with_few_points_or_none(weights: Path) -> None:
    model = PointMae(weights, group_size=8, num_group=16)
    xyz, foreground = batch(1)
    few = torch.zeros_like(foreground)
    few[0, 20, 20:22] = True
    assert model(xyz, few, (4, 4)).isfinite().all()
    assert not model(xyz, torch.zeros_like(foreground), (4, 4)).any()


def test_the_networks_weights_are_frozen(weights: Path) -> None:
    model = PointMae(weights)
    assert not any(weight.requires_grad for weight in model.parameters())
    assert not any(module.training for module in model.train().modules())


def test_files_that_cannot_be_used(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"pointmae_weights=none\.pth: no such file"):
        PointMae("none.pth")
    content = torch.load(weights, weights_only=True)
    content["base_model"].pop("module.MAE_encoder.norm.weight")
    torch.save(content, tmp_path / "lacking.pth")
    with pytest.raises(InputError, match=r"norm\.weight is not in it; give Point-MAE's"):
        PointMae(tmp_path / "lacking.pth")
