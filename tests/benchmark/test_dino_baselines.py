# SPDX-License-Identifier: Apache-2.0
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from anomalib_clip3dad.benchmark.dino_baselines import AnomalyDINO, FoundAD, InpFormer
from anomalib_clip3dad.benchmark.grid import Job
from anomalib_clip3dad.benchmark.job import run_job
from anomalib_clip3dad.errors import InputError, MissingFileError, UnreachableError

BASELINES = "anomalib_clip3dad.benchmark.dino_baselines"
SMALL: dict[type, str] = {
    AnomalyDINO: "vit_small_patch14_dinov2",
    FoundAD: "dinov2_vit_small_14",
    InpFormer: "vit_small_patch14_reg4_dinov2",
}
kinds = pytest.mark.parametrize("kind", SMALL, ids=lambda kind: kind.__name__)


def small(kind: type, **arguments: Any) -> Any:
    """A model of 2 x 2 patches."""
    return kind(
        **{"encoder_name": SMALL[kind], "pre_trained": False, "image_size": 28, "visualizer": False} | arguments
    )


def network(model: Any) -> nn.Module:
    """What timm made."""
    inner = model.model
    if isinstance(model, FoundAD):
        return inner.encoder._model
    return (inner.feature_encoder if isinstance(model, AnomalyDINO) else inner.encoder).feature_extractor


def learning(model: Any) -> list[Iterable[nn.Parameter]]:
    """What training changes."""
    if isinstance(model, FoundAD):
        return [model.model.projector.parameters()]
    return [model.trainable_modules.parameters()] if isinstance(model, InpFormer) else []


@kinds
def test_trains_and_tests_on_the_shots(kind: type, jobs_of: Callable[..., list[Job]]) -> None:
    init_args = {"encoder_name": SMALL[kind], "pre_trained": False, "image_size": 28}
    model = {"name": "a", "class_path": f"{BASELINES}.{kind.__name__}", "init_args": init_args}
    (job,) = jobs_of(models=[model | {"trainer": {"max_steps": 1}}])
    record = run_job(job)
    assert job.is_random
    assert record["test_samples"] == 6
    assert record["trained_parameters"] == sum(weight.numel() for part in learning(small(kind)) for weight in part)
    assert len(record["shots"].split()) == 1


@kinds
def test_every_pixel_is_seen(kind: type) -> None:
    """The corners of an image change the corners of what the network gets."""
    image = torch.zeros(1, 3, 56, 56)
    marked = image.clone()
    marked[..., [0, 0, -1, -1], [0, -1, 0, -1]] = 1
    transform = small(kind).pre_processor.transform
    changed = (transform(marked) - transform(image)).abs().amax(dim=(0, 1))
    assert changed.shape == (28, 28)
    assert changed[[0, 0, -1, -1], [0, -1, 0, -1]].min() > 0.1


@kinds
def test_local_weights(kind: type, tmp_path: Path) -> None:
    file = str(tmp_path / "weights.safetensors")
    given = network(small(kind)).state_dict()
    save_file(given, file)
    loaded = network(small(kind, pre_trained=True, backbone_weights=file)).state_dict()
    assert given.keys() == loaded.keys()
    assert all(torch.equal(value, loaded[name]) for name, value in given.items())
    given.pop("blocks.3.mlp.fc1.weight")
    save_file(given, file)
    with pytest.raises(InputError, match=r"blocks\.3\.mlp\.fc1\.weight is missing"):
        small(kind, backbone_weights=file)


@kinds
def test_missing_weights_are_told(kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingFileError, match=r"backbone_weights='none\.pth': no such file"):
        small(kind, backbone_weights="none.pth")

    monkeypatch.setattr("timm.models._builder.load_pretrained", Mock(side_effect=OSError("no route")))
    with pytest.raises(UnreachableError, match="give backbone_weights=PATH"):
        small(kind, pre_trained=True)
