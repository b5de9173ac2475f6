# SPDX-License-Identifier: Apache-2.0
"""Whatever file somebody sends: reading it runs none of what it holds."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from anomalib.engine import Engine

from anomalib_clip3dad.benchmark.baselines import CFM
from anomalib_clip3dad.clip import load_clip
from anomalib_clip3dad.command.threshold import threshold
from anomalib_clip3dad.data import Folder3DXYZ
from anomalib_clip3dad.errors import UNSAFE, explanation
from anomalib_clip3dad.inference import RGBXYZInferencer
from anomalib_clip3dad.models import Btf, Clip3dAd, Clip3dAdPlus
from anomalib_clip3dad.models.backbone import load_backbone
from anomalib_clip3dad.weights import read_state_dict
from tests.data.conftest import write_parts


class Bomb:
    """Leaves a mark when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path("ran").touch, ()


def through_engine(file: str) -> None:
    """Test a model with a checkpoint, as `anomalib test --ckpt_path` does."""
    write_parts(Path("good"), 4)
    data = Folder3DXYZ("good", k_shot=2, num_workers=0)
    engine = Engine(logger=False, enable_progress_bar=False, enable_model_summary=False, accelerator="cpu")
    engine.test(model=Btf(pre_trained=False, image_size=64), datamodule=data, ckpt_path=file)


# Forms of a pickle: alone, in torch's archive, and deep in what would pass for a checkpoint
FORMS: dict[str, Callable[[Path], Any]] = {
    "pickle": lambda file: file.write_bytes(pickle.dumps(Bomb())),
    "archive": lambda file: torch.save(Bomb(), file),
    "old archive": lambda file: torch.save(Bomb(), file, _use_new_zipfile_serialization=False),
    "checkpoint": lambda file: torch.save(
        {
            "state_dict": {"weight": torch.zeros(1)},
            "hyper_parameters": {"views": Bomb()},
            "pytorch-lightning_version": "2.5.0",
            "tower_hash": "0",
        },
        file,
    ),
}
READERS: dict[str, Callable[[str], Any]] = {
    "Clip3dAd": Clip3dAd.load_from_checkpoint,
    "Clip3dAdPlus": Clip3dAdPlus.load_from_checkpoint,
    "Btf": Btf.load_from_checkpoint,
    "inferencer": lambda file: RGBXYZInferencer(file, "cpu"),
    "clip3dad threshold": lambda file: threshold(Path(file), Path("good")),
    "pretrained": lambda file: load_clip("ViT-test-tiny", file),
    "backbone_weights": lambda file: load_backbone("resnet18", ["layer2"], backbone_weights=file),
    "weights": lambda file: read_state_dict(Path(file), "weights"),
    "pointmae_weights": lambda file: CFM(pre_trained=False, pointmae_weights=file),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("reader", READERS)
def test_weights_and_checkpoints(tiny_clip: str, reader: str, form: str) -> None:
    assert tiny_clip == "ViT-test-tiny"
    suffixes = {"pretrained": ".pt", "backbone_weights": ".pth", "pointmae_weights": ".pth"}
    file = Path("sent").with_suffix(suffixes.get(reader, ".ckpt"))
    FORMS[form](file)
    with pytest.raises(
        ValueError, match=rf"{file.name}: the file is damaged, or holds more|no checkpoint, or not a whole"
    ) as error:
        READERS[reader](str(file))
    assert "weights_only" not in str(error.value)  # torch says how to read it all the same
    assert not Path("ran").exists()


@pytest.mark.parametrize("form", FORMS)
def test_checkpoints_of_the_engine(form: str) -> None:
    FORMS[form](Path("sent.ckpt"))
    with pytest.raises(pickle.UnpicklingError) as error:
        through_engine("sent.ckpt")
    assert not Path("ran").exists()
    assert explanation(error.value) == UNSAFE  # what the command prints


def test_the_bombs_go_off_where_files_are_trusted() -> None:
    for form, write in FORMS.items():
        write(Path("trusted.pth"))
        if form == "pickle":
            pickle.loads(Path("trusted.pth").read_bytes())  # noqa: S301
        else:
            torch.load("trusted.pth", weights_only=False)
        Path("ran").unlink()
