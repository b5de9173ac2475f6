# SPDX-License-Identifier: Apache-2.0
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from anomalib.engine import Engine
from safetensors.torch import save_file

from anomalib_clip3dad.benchmark.baselines import CFM, Patchcore, WinClip, reaching
from anomalib_clip3dad.benchmark.grid import Job
from anomalib_clip3dad.benchmark.job import attempt, make_data, run_job
from anomalib_clip3dad.errors import InputError, MissingFileError, UnreachableError

BASELINES = "anomalib_clip3dad.benchmark.baselines"


@pytest.mark.parametrize("k_shot", [1, 2, 3])
@pytest.mark.parametrize("batch", [None, 2, 4])
def test_an_epoch_shows_each_shot_once(jobs_of: Callable[..., list[Job]], k_shot: int, batch: int | None) -> None:
    (job,) = jobs_of(k_shot=[k_shot])
    if batch:
        job.data_init_args["train_batch_size"] = batch
    data = make_data(job)
    data.setup()
    shown = [path for few in data.train_dataloader() for path in few.image_path]
    assert len(shown) == len(set(shown)) == k_shot


def test_steps_keep_their_batch(jobs_of: Callable[..., list[Job]]) -> None:
    (job,) = jobs_of(trainer={"max_steps": 3})
    assert make_data(job).train_batch_size == 4


def test_memory_bank_is_of_the_shots(jobs_of: Callable[..., list[Job]]) -> None:
    (job,) = jobs_of(k_shot=[2])
    model = Patchcore("resnet10t", pretrained=None, image_size=64, coreset_sampling_ratio=1.0, visualizer=False)
    Engine(accelerator="cpu", logger=False, enable_progress_bar=False).fit(model, datamodule=make_data(job))
    # layer2 sees an eighth of the picture; k-center-greedy keeps all of them but one
    assert len(model.model.memory_bank) in {2 * 8 * 8, 2 * 8 * 8 - 1}


def test_clip_models(jobs_of: Callable[..., list[Job]], tiny_clip: str) -> None:
    """Ours and WinCLIP, trained and not."""
    init_args = {"clip_model": tiny_clip, "pretrained": None}
    ours = {"name": "ours", "class_path": "anomalib_clip3dad.models.Clip3dAd", "init_args": init_args}
    ours |= {"trainer": {"max_steps": 1}, "data": {"train_batch_size": 1}}
    winclip = {"name": "WinCLIP", "class_path": f"{BASELINES}.WinClip", "init_args": init_args | {"scales": [2]}}
    trained, untrained = map(run_job, jobs_of(models=[ours, winclip]))
    assert trained["trained_parameters"] > 0
    assert trained["fit_seconds"] > 0
    assert (untrained["trained_parameters"], untrained["fit_seconds"]) == (0, None)
    assert trained["shots"] == untrained["shots"]
    assert trained["test_samples"] == untrained["test_samples"] == 6


def test_winclip_compares_like_with_like(jobs_of: Callable[..., list[Job]], tiny_clip: str) -> None:
    """References are pre-processed as queries are: a shot, asked for, is exactly like itself."""
    (job,) = jobs_of(k_shot=[2])
    data = make_data(job)
    model = WinClip(tiny_clip, pretrained=None, scales=(2,), post_processor=False, evaluator=False, visualizer=False)
    engine = Engine(accelerator="cpu", logger=False, enable_progress_bar=False)
    engine.test(model, datamodule=data, verbose=False)
    assert model.k_shot == model.model.k_shot == 2
    assert model.class_name == "gear"
    assert model.pre_processor is not None
    shots = torch.stack([model.pre_processor.transform(item.image) for item in data.train_data])
    assert shots.min() < -0.1  # normalised, not [0, 1]
    with torch.no_grad():
        _, _, patches = model.model.encode_image(shots)
    torch.testing.assert_close(patches, model.model.patch_embeddings)


def test_winclip_without_shots(jobs_of: Callable[..., list[Job]], tiny_clip: str) -> None:
    init_args = {"clip_model": tiny_clip, "pretrained": None, "scales": [2], "few_shot": False}
    model = {"name": "zero", "class_path": f"{BASELINES}.WinClip", "init_args": init_args}
    assert run_job(jobs_of(models=[model])[0])["test_samples"] == 6


def test_cfm(jobs_of: Callable[..., list[Job]]) -> None:
    init_args = {"rgb_backbone": "vit_base_patch32_224", "pretrained": None}
    init_args |= {"group_size": 8, "num_group": 16, "image_size": 32}
    model = {"name": "CFM", "class_path": f"{BASELINES}.CFM", "init_args": init_args}
    model |= {"trainer": {"max_steps": 1}, "data": {"train_batch_size": 1, "eval_batch_size": 1}}
    assert run_job(jobs_of(models=[model])[0])["trained_parameters"] == 5_535_360  # its two mappers


def test_local_weights(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    network = timm.create_model("resnet10t")
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    with caplog.at_level(logging.WARNING):
        model = Patchcore("resnet10t", pretrained=str(tmp_path / "weights.safetensors"))
    assert "RANDOM" not in caplog.text
    loaded = model.model.feature_extractor.feature_extractor.state_dict()
    assert all(torch.equal(network.state_dict()[name], value) for name, value in loaded.items())
    with pytest.raises(InputError, match="is not in it; give the weights of that network"):
        Patchcore("resnet18", pretrained=str(tmp_path / "weights.safetensors"))


def test_random_weights_are_loud(caplog: pytest.LogCaptureFixture) -> None:
    Patchcore("resnet10t", pretrained=None)
    assert "resnet10t runs with RANDOM weights; its scores mean nothing" in caplog.text


@pytest.mark.parametrize(
    ("init_args", "message"),
    [
        ({"pretrained": "rgb.safetensors"}, "give pointmae_weights=PATH, too"),
        ({"pointmae_weights": "none.pth"}, "pointmae_weights=none.pth: no such file"),
    ],
)
def test_cfm_without_its_files(init_args: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        CFM(**init_args)


def test_unreachable_weights_are_one_line() -> None:
    with (
        pytest.raises(UnreachableError, match=r"cannot be reached \(no route\); copy them here"),
        reaching("a network"),
    ):
        raise OSError("no route")
    with pytest.raises(MissingFileError), reaching("a network"):
        raise MissingFileError("ours")


def test_attempt_says_why(jobs_of: Callable[..., list[Job]]) -> None:
    unknown = {"name": "unknown", "class_path": "anomalib_clip3dad.models.Nothing"}
    nonsense = {"name": "nonsense", "class_path": f"{BASELINES}.Patchcore", "init_args": {"nothing": 1}}
    first, second = map(attempt, jobs_of(models=[unknown, nonsense]))
    assert isinstance(first, str)
    assert first.startswith("class_path=anomalib_clip3dad.models.Nothing: cannot be imported")
    assert isinstance(second, str)
    assert "nothing" in second
    assert "\n" not in second
