# SPDX-License-Identifier: Apache-2.0
from types import SimpleNamespace

import pytest
import torch
from anomalib.data import DepthBatch, ImageBatch

from anomalib_clip3dad import callbacks
from anomalib_clip3dad.callbacks import AnomalySynthesis, prepare_cloud
from anomalib_clip3dad.errors import InputError
from anomalib_clip3dad.geometry import MultiViewRenderer, foreground_mask, resize_organised
from tests.conftest import OnDevice, depth_batch


def step(epoch: int = 0, rank: int = 0, processes: int = 1) -> SimpleNamespace:
    """All that the callbacks ask of a trainer."""
    return SimpleNamespace(current_epoch=epoch, global_rank=rank, world_size=processes)


def synthesised(seed: int | None = 0, epoch: int = 0, geometry: float = 0.0) -> DepthBatch:
    batch = depth_batch()
    AnomalySynthesis(geometry=geometry, seed=seed).on_train_batch_start(step(epoch), None, batch, 0)
    return batch


def test_batch_becomes_pairs() -> None:
    before, batch = depth_batch(), synthesised()
    assert torch.equal(batch.image[:2], before.image)
    for half in (batch.depth_map[:2], batch.depth_map[2:]):
        assert torch.equal(half, before.depth_map)
    assert not batch.gt_mask[:2].any()
    assert batch.gt_label.tolist() == [False, False, True, True]
    changed = (batch.image[2:] != before.image).any(dim=1)
    assert not (changed & ~batch.gt_mask[2:]).any()
    assert not (batch.gt_mask[2:] & ~foreground_mask(before.depth_map)).any()
    assert len(batch.image_path) == 4
    assert batch.batch_size == 4


def test_anomalies_depend_on_seed_and_progress_alone() -> None:
    torch.manual_seed(5)
    first = synthesised(seed=1).image
    torch.manual_seed(6)
    state = torch.get_rng_state()
    assert torch.equal(synthesised(seed=1).image, first)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(synthesised(seed=2).image, first)
    assert not torch.equal(synthesised(seed=1, epoch=1).image, first)


def test_every_sample_of_an_epoch_has_an_anomaly_of_its_own() -> None:
    """Also behind a batch that is shorter than the others."""
    callback, masks = AnomalySynthesis(seed=0), []
    for batch_idx, size in enumerate((3, 2, 3)):
        batch = depth_batch(size)
        batch.image, batch.depth_map = (
            batch.image[:1].expand(size, -1, -1, -1),
            batch.depth_map[:1].expand(size, -1, -1, -1),
        )
        callback.on_train_batch_start(step(), None, batch, batch_idx)
        masks += list(batch.gt_mask[size:])
    assert len({tuple(mask.flatten().tolist()) for mask in masks}) == 8


def test_two_processes_draw_what_one_does_with_twice_the_batch() -> None:
    whole, parts = depth_batch(4), []
    AnomalySynthesis(seed=1).on_train_batch_start(step(), None, whole, 0)
    for rank in (0, 1):
        batch = depth_batch(4)
        batch.image, batch.depth_map = batch.image[rank::2], batch.depth_map[rank::2]
        batch.image_path = batch.image_path[rank::2]
        AnomalySynthesis(seed=1).on_train_batch_start(step(rank=rank, processes=2), None, batch, 0)
        parts.append(batch)
    for rank, batch in enumerate(parts):
        assert torch.equal(batch.image[2:], whole.image[4:][rank::2])
        assert torch.equal(batch.gt_mask[2:], whole.gt_mask[4:][rank::2])


def test_anomalies_in_the_cloud_stay_in_the_mask() -> None:
    before, batch = depth_batch(), synthesised(seed=2, geometry=1.0)
    assert torch.equal(batch.depth_map[:2], before.depth_map)
    moved = (batch.depth_map[2:] != before.depth_map).any(dim=1)
    assert moved.flatten(1).any(dim=1).all()
    assert not (moved & ~batch.gt_mask[2:]).any()
    assert not (prepare_cloud(batch) & (batch.depth_map[:, 2] == 0)).any()  # a hole is no surface


def test_geometry_is_a_share() -> None:
    with pytest.raises(ValueError, match=r"geometry=1\.5.*\[0, 1\]"):
        AnomalySynthesis(geometry=1.5)
    with pytest.raises(InputError, match=r"anomaly_size=\(0.2, 0.1\): a range within \(0, 1\]"):
        AnomalySynthesis(size=(0.2, 0.1))
    with pytest.raises(InputError, match=r"opacity=\(0.5, 2\)"):
        AnomalySynthesis(opacity=(0.5, 2))


def test_without_a_seed_that_of_seed_everything_counts() -> None:
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(synthesised(seed=None).image)
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_a_cloud_without_a_part_is_refused_by_name() -> None:
    batch = depth_batch()
    batch.depth_map[1] = 0
    batch.depth_path = ["a.tiff", "b.tiff"]
    with pytest.raises(ValueError, match=r"b\.tiff: no measured point"):
        AnomalySynthesis().on_train_batch_start(step(), None, batch, 0)


def test_only_the_first_sight_of_a_file_looks_at_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU runs on while the next step is prepared."""
    monkeypatch.setattr(torch.Tensor, "pin_memory", torch.Tensor.clone)  # there may be no GPU to pin it for
    synthesis = AnomalySynthesis(geometry=0.5, seed=0)

    def batch(kind: type[torch.Tensor]) -> SimpleNamespace:
        drawn = depth_batch()
        image, xyz = (values.as_subclass(torch.Tensor).as_subclass(kind) for values in (drawn.image, drawn.depth_map))
        paths = {"image_path": None, "mask_path": None, "depth_path": ["a.tiff", "b.tiff"]}
        return SimpleNamespace(image=image, depth_map=xyz, **paths)

    with pytest.raises(AssertionError, match="__bool__ looks"):
        synthesis.on_train_batch_start(step(), None, batch(OnDevice), 0)
    synthesis.on_train_batch_start(step(), None, batch(torch.Tensor), 0)
    for index in range(1, 30):  # both kinds of anomalies, all kinds of textures
        known = batch(OnDevice)
        synthesis.on_train_batch_start(step(), None, known, index)
        assert isinstance(known.image, OnDevice)
        assert isinstance(known.gt_mask, OnDevice)
    views = MultiViewRenderer((5, 9), 48)(known.image, known.depth_map, prepare_cloud(known))
    assert isinstance(views.positions, OnDevice)


def test_clouds_of_another_size_than_the_image_are_resized() -> None:
    """anomalib's own data sets resize the image alone."""
    batch = depth_batch(height=60, width=80)
    xyz = batch.depth_map
    batch.image = torch.nn.functional.interpolate(batch.image, (48, 48))
    foreground = prepare_cloud(batch)
    assert foreground.shape == (2, 48, 48)
    assert torch.equal(batch.depth_map, resize_organised(xyz, (48, 48)))


@pytest.mark.parametrize("channels", [0, 1])
def test_without_xyz_the_error_says_what_to_do(channels: int) -> None:
    image = torch.rand(2, 3, 48, 48)
    batch = DepthBatch(image=image, depth_map=torch.rand(2, 1, 48, 48)) if channels else ImageBatch(image=image)
    with pytest.raises(ValueError, match=r"organised XYZ \(B, 3, H, W\).*intrinsics"):
        AnomalySynthesis().on_train_batch_start(step(), None, batch, 0)


def test_a_config_with_the_former_callback_is_told_what_to_do() -> None:
    with pytest.raises(AttributeError, match=r"take it out of the config's trainer\.callbacks"):
        _ = callbacks.MultiViewRendering
