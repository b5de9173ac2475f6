# SPDX-License-Identifier: Apache-2.0
"""The composition on a tiny backbone, against its parts."""

from typing import Any

import pytest
import torch
from anomalib.models.image.patchcore.torch_model import PatchcoreModel
from torch import Tensor

from anomalib_clip3dad.errors import InputError
from anomalib_clip3dad.models import patch_memory
from anomalib_clip3dad.models.backbone import load_backbone, patch_features
from anomalib_clip3dad.models.lsfa import torch_model
from anomalib_clip3dad.models.lsfa.cloud_features import SurfaceHistograms
from anomalib_clip3dad.models.lsfa.fusion import svm_weights
from anomalib_clip3dad.models.lsfa.leave_one_out import left_out_distances, scale_of
from anomalib_clip3dad.models.lsfa.torch_model import MODALITIES, Features, LsfaModel, gathered
from anomalib_clip3dad.models.patch_memory import PatchMemory
from tests.conftest import depth_batch

SIDE, GRID = 48, (6, 6)


def make(
    adapts: bool = True,
    backbone: str = "resnet18",
    layers: tuple[str, ...] = ("layer1", "layer2"),
    fusion: str = "mean",
) -> LsfaModel:
    extractor = load_backbone(backbone, layers, pre_trained=False)
    return LsfaModel(extractor, SurfaceHistograms(), 8, adapts, fusion=fusion).eval()


def parts(others: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Three shots, or three other parts, whose distances to the shots are more than rounding."""
    batch = depth_batch(6, SIDE, SIDE)
    rows = slice(3, 6) if others else slice(3)
    image, xyz = (field[rows].as_subclass(Tensor) for field in (batch.image, batch.depth_map))
    foreground = xyz[:, 2] > 0
    foreground[-1, :20] = False
    return image, xyz, foreground


def bent(model: LsfaModel) -> LsfaModel:
    """Adaptors that change something, as after some steps."""
    torch.manual_seed(3)
    for weight in model.adaptors.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    return model


def fitted(model: LsfaModel, ratio: float = 1.0) -> tuple[LsfaModel, Features]:
    frozen = gathered([model.read(*parts())])
    model.measure(frozen)
    scaled = model.scaled(frozen)
    model.fill_banks(Features(*(field.clone() for field in scaled)), ratio, 0)
    return model, scaled


@pytest.mark.parametrize(
    ("backbone", "layers", "width"),
    [("resnet18", ("layer1", "layer2"), 64 + 128), ("vit_tiny_patch16_224", ("blocks.1", "blocks.3"), 2 * 192)],
)
def test_features_of_both_lie_on_one_grid(backbone: str, layers: tuple[str, ...], width: int) -> None:
    model = make(backbone=backbone, layers=layers)
    image, xyz, foreground = parts()
    found = model.read(image, xyz, foreground)
    assert model.widths == {"rgb": width, "cloud": 33}
    assert found.rgb.shape == (3, width, *GRID)
    assert found.cloud.shape == (3, 33, *GRID)
    for row in range(6):
        for column in range(6):
            pixels = foreground[:, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
            assert torch.equal(found.part[:, row, column], pixels.any(dim=(1, 2)))
    assert not found.part.all()
    black = torch.stack([picture * mask for picture, mask in zip(image, foreground, strict=True)])
    expected = patch_features(model.tower["rgb"], black)
    torch.testing.assert_close(found.rgb, torch.nn.functional.interpolate(expected, GRID, mode="bilinear"))


def test_adaptors_start_as_the_identity_and_see_all_patches_of_their_sample_alone() -> None:
    model = make()
    scaled = model.scaled(model.read(*parts()))
    start = model.adapt(scaled)
    assert all(torch.equal(*pair) for pair in zip(start, scaled, strict=True))
    # patches of an untrained network are all alike, so that attention would change nothing
    scaled = Features(torch.randn_like(scaled.rgb), torch.randn_like(scaled.cloud), scaled.part)
    adapted = bent(model).adapt(scaled)
    for name in MODALITIES:
        assert not torch.allclose(getattr(adapted, name), getattr(scaled, name), atol=0.1)
        one = model.adapt(Features(*(field[1:2] for field in scaled)))
        torch.testing.assert_close(getattr(one, name)[0], getattr(adapted, name)[1], atol=1e-4, rtol=1e-4)
        other = scaled.rgb.clone(), scaled.cloud.clone()
        for maps in other:
            maps[0, :, 0, 0] *= -1  # the normalisation hides what is added to all channels
        moved = getattr(model.adapt(Features(*other, scaled.part)), name)
        # attention: other patches move too, though not each one, as it is sharp with these weights
        assert (moved[0, :, 1:] - getattr(adapted, name)[0, :, 1:]).abs().amax() > 1e-2
        assert torch.allclose(moved[1:], getattr(adapted, name)[1:], atol=1e-4)


def test_without_adaptors_the_features_stay() -> None:
    model = make(adapts=False)
    scaled = model.scaled(model.read(*parts()))
    assert all(torch.equal(*pair) for pair in zip(model.adapt(scaled), scaled, strict=True))
    assert not list(model.adaptors.parameters())


def test_new_adaptors_depend_on_the_seed_alone() -> None:
    model, weights = make(), []
    for run, seed in enumerate((1, 1, 2)):
        torch.manual_seed(run)
        model.start_adaptors(seed)
        weights.append(torch.cat([weight.flatten() for weight in model.adaptors.parameters()]))
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_the_unit_makes_the_variance_of_the_parts_patches_one() -> None:
    model = make()
    frozen = model.read(*parts())
    model.measure(frozen)
    scaled = model.scaled(frozen)
    for name in MODALITIES:
        patches = getattr(scaled, name).movedim(1, -1)[scaled.part]
        assert patches.var(dim=0, correction=0).mean().item() == pytest.approx(1, rel=1e-4)
        assert not torch.allclose(getattr(frozen, name), getattr(scaled, name))
    model.scale_in_place(frozen)
    assert all(torch.equal(*pair) for pair in zip(frozen, scaled, strict=True))


@pytest.mark.parametrize(("adapts", "fusion"), [(True, "mean"), (False, "mean"), (True, "svm")])
def test_score_and_map_are_means_of_both_on_their_own_scales(adapts: bool, fusion: str) -> None:
    model, scaled = fitted(bent(make(adapts, fusion=fusion)) if adapts else make(adapts, fusion=fusion))
    found = model(*parts(others=True))
    shots, test = model.adapt(scaled), model.adapt(model.scaled(model.read(*parts(others=True))))
    banks: Any = model.memories
    scores, maps, left_out = [], [], []
    for name in MODALITIES:
        memory = PatchMemory(3)
        memory.memory_bank = banks[name].memory_bank
        expected = memory(getattr(test, name), (SIDE, SIDE))
        distances = left_out_distances(getattr(shots, name), shots.part)
        mean, deviation = scale_of(distances)
        left_out.append((distances / deviation).detach())
        scores.append((expected.pred_score - mean) / deviation)
        maps.append((expected.anomaly_map - mean) / deviation)
    one, other = svm_weights(torch.stack(left_out), 0) if fusion == "svm" else (0.5, 0.5)
    torch.testing.assert_close(found.pred_score, one * scores[0] + other * scores[1])
    torch.testing.assert_close(found.anomaly_map, one * maps[0] + other * maps[1])
    assert fusion == "mean" or abs(one - other) > 1e-2


def test_shots_are_joined_as_memory_banks_have_them_and_not_kept_twice() -> None:
    shots = [Features(torch.randn(b, 3, 2, 4), torch.randn(b, 5, 2, 4), torch.rand(b, 2, 4) > 0.5) for b in (2, 1, 3)]
    expected = [torch.cat(fields) for fields in zip(*shots, strict=True)]
    joined = gathered(shots)
    assert not shots
    assert all(torch.equal(*pair) for pair in zip(joined, expected, strict=True))
    assert all(maps.permute(0, 2, 3, 1).is_contiguous() for maps in (joined.rgb, joined.cloud))


def test_the_coreset_is_a_share_of_all_patches() -> None:
    model: Any = fitted(make(), 0.25)[0]
    assert [len(model.memories[name].memory_bank) for name in MODALITIES] == [27, 27]  # of 3 x 36
    assert not model.memories["rgb"].memory_bank.equal(model.memories["cloud"].memory_bank)


def test_the_adapted_features_of_a_full_data_set_are_in_memory_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[int]] = []
    for module, name in ((torch_model, "left_out_distances"), (patch_memory, "Coreset")):
        usual, addresses = getattr(module, name), []

        def spy(features: Tensor, *others: Any, usual: Any = usual, addresses: list[int] = addresses) -> Any:
            addresses.append(features.untyped_storage().data_ptr())
            return usual(features, *others)

        monkeypatch.setattr(module, name, spy)
        seen.append(addresses)
    fitted(bent(make()), 0.25)
    assert len(seen[0]) == 2
    assert seen[0] == seen[1]


def test_distances_to_other_shots_never_make_a_matrix_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    usual, sizes = PatchcoreModel.euclidean_dist, []

    def spy(one: Tensor, other: Tensor) -> Tensor:
        sizes.append(len(other))
        return usual(one, other)

    monkeypatch.setattr(PatchcoreModel, "euclidean_dist", spy)
    left_out_distances(torch.randn(5, 4, *GRID), torch.ones(5, *GRID, dtype=torch.bool))
    assert set(sizes) == {36}


def test_a_batch_is_its_samples_and_nothing_is_random() -> None:
    model, _ = fitted(bent(make()), 0.5)
    samples = parts(others=True)
    together, again = model(*samples), model(*samples)
    assert torch.equal(together.pred_score, again.pred_score)
    assert torch.equal(together.anomaly_map, again.anomaly_map)
    for row in range(3):
        one = model(*(field[row : row + 1] for field in samples))
        torch.testing.assert_close(one.pred_score[0], together.pred_score[row], atol=1e-3, rtol=1e-3)
        torch.testing.assert_close(one.anomaly_map[0], together.anomaly_map[row], atol=1e-3, rtol=1e-3)


def test_empty_banks_are_named() -> None:
    with pytest.raises(InputError, match="the memory bank is empty"):
        make()(*parts())
