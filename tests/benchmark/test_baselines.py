# SPDX-License-Identifier: Apache-2.0
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from anomalib import models
from anomalib.engine import Engine
from anomalib.models.image.winclip import torch_model as anomalib_winclip
from safetensors.torch import save_file
from torch import nn

from anomalib_clip3dad.benchmark import METRICS
from anomalib_clip3dad.benchmark.baselines import CFM, Patchcore, WinClip
from anomalib_clip3dad.benchmark.grid import Job
from anomalib_clip3dad.benchmark.job import make_data, run_job
from anomalib_clip3dad.errors import InputError
from anomalib_clip3dad.models.backbone import load_backbone

BASELINES = "anomalib_clip3dad.benchmark.baselines"
LITE = {"backbone": "tf_efficientnet_lite0", "layers": ["blocks.2", "blocks.4"], "pre_trained": True}


def test_memory_bank_is_of_the_shots(jobs_of: Callable[..., list[Job]]) -> None:
    (job,) = jobs_of(k_shot=[2])
    model = Patchcore("resnet10t", pre_trained=False, image_size=64, coreset_sampling_ratio=1.0, visualizer=False)
    Engine(accelerator="cpu", logger=False, enable_progress_bar=False).fit(model, datamodule=make_data(job))
    # layer2 sees an eighth of the image; k-center-greedy keeps all of them but one
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


def winclip(clip_model: str, **arguments: Any) -> WinClip:
    switches = {"post_processor": False, "evaluator": False, "visualizer": False}
    return WinClip(clip_model, **{"pretrained": None} | switches | arguments).eval()


def test_winclip_is_anomalibs(tiny_clip: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the bit, with the same CLIP in it."""
    monkeypatch.setattr(anomalib_winclip, "BACKBONE", tiny_clip)
    monkeypatch.setattr(anomalib_winclip, "PRETRAINED", None)
    reference, model = anomalib_winclip.WinClipModel(scales=(2, 3)).eval(), winclip(tiny_clip).model
    reference.clip.load_state_dict(model.clip.state_dict())
    shots, queries = torch.randn(2, 3, 48, 48), torch.randn(3, 3, 48, 48)
    answers = []
    for each in (reference, model):
        each.setup("gear", shots)
        answers.append(each(queries))
    assert torch.equal(answers[0].pred_score, answers[1].pred_score)
    assert torch.equal(answers[0].anomaly_map, answers[1].anomaly_map)


@contextmanager
def seeing_only(visual: Any, tokens: torch.Tensor) -> Iterator[None]:
    """Let a tower drop all other tokens at the place where training drops some at random."""

    class Chosen(nn.Module):
        def forward(self, all_tokens: torch.Tensor) -> torch.Tensor:
            return all_tokens[:, tokens.long()]

    owner, name = (visual.trunk, "patch_drop") if hasattr(visual, "trunk") else (visual, "patch_dropout")
    before = getattr(owner, name)
    setattr(owner, name, Chosen())
    try:
        yield
    finally:
        setattr(owner, name, before)


@pytest.mark.parametrize(("clip_model", "side"), [("ViT-test-tiny", 3), ("ViT-Ti-Lite0-16-240", 15)])
def test_winclip_embeds_windows_as_the_tower_would(clip_model: str, side: int) -> None:
    """open_clip's own vision transformer, and one of timm: what the tower says if it sees one window alone."""
    model = winclip(clip_model).model
    visual = model.clip.visual
    pictures = torch.randn(2, 3, 16 * side, 16 * side)
    with torch.no_grad():
        images, windows, patches = model.encode_image(pictures)
        visual.output_tokens = False
        expected = model.clip.encode_image(pictures)
        torch.testing.assert_close(images, expected)
        assert [each.shape[1] for each in windows] == [(side - 1) ** 2, (side - 2) ** 2]
        assert patches.shape[:2] == (2, side**2)
        if hasattr(visual, "trunk"):
            torch.testing.assert_close(patches, visual.trunk.forward_features(pictures)[:, 1:])
        for scale, found in zip((2, 3), windows, strict=True):
            across = side - scale + 1
            for window in {0, 1, across**2 // 2, across**2 - 1}:
                top, left = divmod(window % across**2, across)
                seen = [1 + (top + i) * side + left + j for i in range(scale) for j in range(scale)]
                with seeing_only(visual, torch.tensor([0, *seen])):
                    alone = model.clip.encode_image(pictures)
                torch.testing.assert_close(found[:, window % across**2], alone, atol=1e-5, rtol=1e-4)


def test_winclip_on_a_transformer_of_timm(jobs_of: Callable[..., list[Job]]) -> None:
    """The small CLIP's architecture: a shot, asked for, is exactly like itself."""
    (job,) = jobs_of()
    data = make_data(job)
    model = winclip("ViT-Ti-Lite0-16-240", scales=(2,))
    engine = Engine(accelerator="cpu", logger=False, enable_progress_bar=False)
    (result,) = engine.predict(model, datamodule=data)[:1]
    assert result.anomaly_map.shape[-2:] == (240, 240)
    transform: Any = model.pre_processor.transform  # type: ignore[union-attr]
    shots = torch.stack([transform(item.image) for item in data.train_data])
    with torch.no_grad():
        _, windows, patches = model.model.encode_image(shots)
    torch.testing.assert_close(patches, model.model.patch_embeddings)
    torch.testing.assert_close(windows[0], model.model.visual_embeddings[0])


def test_winclip_needs_a_vision_transformer() -> None:
    assert "RN50" in open_clip.list_models()
    with pytest.raises(InputError, match="clip_model: a vision transformer"):
        winclip("RN50")


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


@pytest.mark.parametrize(
    ("arguments", "mean", "std"),
    [
        ({"backbone": "resnet10t", "pre_trained": False}, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        (LITE, [127 / 255] * 3, [128 / 255] * 3),
    ],
)
def test_patchcore_normalises_as_its_backbone_was_trained(
    arguments: dict[str, Any], mean: list[float], std: list[float]
) -> None:
    """All else of what prepares images is anomalib's."""
    found: Any = Patchcore(**arguments, image_size=64).pre_processor.transform  # type: ignore[union-attr]
    anomalibs: Any = models.Patchcore.configure_pre_processor((64, 64)).transform
    picture = torch.rand(3, 60, 80)
    with_imagenets = anomalibs(picture)
    resized = with_imagenets * torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    resized += torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    expected = (resized - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    torch.testing.assert_close(found(picture), expected)
    assert torch.equal(found(picture), with_imagenets) == (arguments is not LITE)


def test_packaged_weights_serve_patchcore_and_btf(
    jobs_of: Callable[..., list[Job]],
) -> None:
    """As in quick.yaml, without a network."""
    patchcore = {"name": "PatchCore", "class_path": f"{BASELINES}.Patchcore", "init_args": LITE | {"image_size": 64}}
    btf = {"name": "BTF", "class_path": "anomalib_clip3dad.models.Btf", "init_args": LITE | {"image_size": 64}}
    for job in jobs_of(models=[patchcore, btf]):
        assert not job.is_random
        assert run_job(job)["test_samples"] == 6
