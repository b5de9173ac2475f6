# SPDX-License-Identifier: Apache-2.0
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from anomalib.engine import Engine
from safetensors.torch import save_file

from anomalib_clip3dad.benchmark import METRICS
from anomalib_clip3dad.benchmark.baselines import CFM, Patchcore, WinClip
from anomalib_clip3dad.benchmark.grid import Job
from anomalib_clip3dad.benchmark.job import attempt, make_data, run_job
from anomalib_clip3dad.errors import InputError
from anomalib_clip3dad.models.backbone import load_backbone

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
    model = Patchcore("resnet10t", pre_trained=False, image_size=64, coreset_sampling_ratio=1.0, visualizer=False)
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


@pytest.mark.parametrize("k_shot", [1, 2])
def test_steps_do_not_fill_the_bank_again_and_again(jobs_of: Callable[..., list[Job]], k_shot: int) -> None:
    """A grid may give a number of steps to all models."""
    (steps,), (one,) = (
        jobs_of(k_shot=[k_shot], trainer={"accelerator": "cpu"} | more) for more in ({"max_steps": 5}, {})
    )
    records = [run_job(job) for job in (steps, one)]
    assert records[0]["checkpoint_bytes"] == records[1]["checkpoint_bytes"]
    assert all(records[0][name] == records[1][name] for name in METRICS)


def small_cfm(**changes: Any) -> dict[str, Any]:
    return {"rgb_backbone": "vit_base_patch32_224", "group_size": 8, "num_group": 16, "image_size": 32} | changes


def test_cfm(jobs_of: Callable[..., list[Job]]) -> None:
    model = {"name": "CFM", "class_path": f"{BASELINES}.CFM", "init_args": small_cfm(pre_trained=False)}
    model |= {"trainer": {"max_steps": 1}, "data": {"train_batch_size": 1, "eval_batch_size": 1}}
    assert run_job(jobs_of(models=[model])[0])["trained_parameters"] == 5_535_360  # its two mappers


def test_cfm_with_local_weights(tmp_path: Path) -> None:
    vit, pointmae = str(tmp_path / "vit.safetensors"), str(tmp_path / "pretrain.pth")
    networks = CFM(**small_cfm(pre_trained=False)).model.feature_extractors.extractors
    save_file(networks.rgb_backbone.state_dict(), vit)
    state = {f"module.MAE_encoder.{name}": value for name, value in networks.xyz_backbone.state_dict().items()}
    torch.save({"base_model": state}, pointmae)
    loaded = CFM(**small_cfm(backbone_weights=vit, pointmae_weights=pointmae)).model.feature_extractors.extractors
    assert networks.state_dict().keys() == loaded.state_dict().keys()
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in networks.state_dict().items())
    state.pop("module.MAE_encoder.pos_embed.0.weight")
    torch.save({"base_model": state}, pointmae)
    with pytest.raises(InputError, match=r"pos_embed\.0\.weight is not in it; give Point-MAE's"):
        CFM(**small_cfm(backbone_weights=vit, pointmae_weights=pointmae))


@pytest.mark.parametrize(
    ("init_args", "message"),
    [
        ({"backbone_weights": "rgb.safetensors"}, "give pointmae_weights=PATH, too"),
        ({"pointmae_weights": "none.pth"}, "pointmae_weights=none.pth: no such file"),
    ],
)
def test_cfm_without_its_files(init_args: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        CFM(**init_args)


def test_patchcore_has_the_backbone_of_btf() -> None:
    model = Patchcore("resnet10t", pre_trained=False)
    expected = load_backbone("resnet10t", ["layer2", "layer3"], pre_trained=False).state_dict()
    found = model.model.feature_extractor.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)


def test_attempt_says_why(jobs_of: Callable[..., list[Job]]) -> None:
    unknown = {"name": "unknown", "class_path": "anomalib_clip3dad.models.Nothing"}
    nonsense = {
        "name": "nonsense",
        "class_path": f"{BASELINES}.Patchcore",
        "init_args": {"pre_trained": False, "nothing": 1},
    }
    first, second = map(attempt, jobs_of(models=[unknown, nonsense]))
    assert isinstance(first, str)
    assert first.startswith("class_path=anomalib_clip3dad.models.Nothing: cannot be imported")
    assert isinstance(second, str)
    assert "nothing" in second
    assert "\n" not in second
