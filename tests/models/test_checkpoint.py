# SPDX-License-Identifier: Apache-2.0
"""What a checkpoint holds and when it is refused, on a model of three numbers."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import nn

from anomalib_clip3dad.errors import InputError
from anomalib_clip3dad.models.checkpoint import FrozenTowerMixin, WholeCheckpoints
from anomalib_clip3dad.weights import load_safely


class Small(FrozenTowerMixin, LightningModule):
    must_agree = ("layers", "side")

    def __init__(self, layers: tuple[int, ...] = (1, 2), side: int = 4, pretrained: str = "small") -> None:  # noqa: ARG002
        super().__init__()
        self.save_hyperparameters()
        self.model = nn.ModuleDict({"tower": nn.Linear(2, 2), "head": nn.Linear(2, 1)})
        with torch.no_grad():
            for parameter in self.model.tower.parameters():
                parameter.fill_(len(pretrained))


class Other(Small):
    pass


@pytest.fixture
def trained(tmp_path: Path) -> tuple[Small, Path]:
    torch.manual_seed(5)
    model = Small()
    model.training_files, model.training_digests = ["train/000.png"], ["abc"]
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, default_root_dir=tmp_path)
    trainer.strategy.connect(model)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    return model, tmp_path / "a.ckpt"


def changed(file: Path, **entries: Any) -> Path:
    content = load_safely(file, "file") | entries
    torch.save(content, file.with_name("b.ckpt"))
    return file.with_name("b.ckpt")


def test_it_holds_what_was_trained_and_a_fingerprint_of_the_rest(trained: tuple[Small, Path]) -> None:
    model, file = trained
    content = load_safely(file, "file")
    assert set(content["state_dict"]) == {"model.head.weight", "model.head.bias"}
    assert content["tower_hash"] == model.tower_hash
    assert (content["model"], content["training_files"]) == ("Small", ["train/000.png"])


def test_it_is_read_back(trained: tuple[Small, Path]) -> None:
    model, file = trained
    torch.manual_seed(6)
    again = Small.load_from_checkpoint(file)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())
    assert (again.training_files, again.training_digests) == (["train/000.png"], ["abc"])


def test_lists_of_configs_are_tuples_of_code(trained: tuple[Small, Path]) -> None:
    Small.load_from_checkpoint(trained[1], layers=[1, 2])


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"layers": (1, 3)}, r"trained with layers=\[1, 2\], this model has layers=\[1, 3\]; give the same"),
        ({"side": 5}, "trained with side=4, this model has side=5"),
        ({"pretrained": "larger"}, r"trained on other frozen weights \(pretrained='small'\); give the same"),
    ],
)
def test_another_model_is_refused(trained: tuple[Small, Path], other: dict[str, Any], message: str) -> None:
    content = load_safely(trained[1], "file")
    with pytest.raises(InputError, match=message):
        Small(**other).on_load_checkpoint(content)


def test_older_checkpoints_lack_the_newer_arguments(trained: tuple[Small, Path]) -> None:
    content = load_safely(trained[1], "file")
    del content["hyper_parameters"]["side"]
    del content["training_files"]
    model = Small(side=5)
    model.on_load_checkpoint(content)
    assert model.training_files == ()


def test_a_checkpoint_of_somebody_else_is_refused(trained: tuple[Small, Path]) -> None:
    content = load_safely(trained[1], "file")
    del content["tower_hash"]
    with pytest.raises(InputError, match="this is no checkpoint of Other; give one of that model"):
        Other().on_load_checkpoint(content)


def test_addresses_are_left_to_those_who_know_them(tmp_path: Path) -> None:
    written: list[str] = []

    class Remote:
        def save_checkpoint(self, _: Any, path: str, __: Any) -> None:
            written.append(path)

    whole = WholeCheckpoints(Remote())  # type: ignore[arg-type]
    whole.save_checkpoint({"a": 1}, "s3://bucket/a.ckpt")
    whole.save_checkpoint({"a": 1}, tmp_path / "a.ckpt")
    assert written == ["s3://bucket/a.ckpt"]
    assert load_safely(tmp_path / "a.ckpt", "file") == {"a": 1}
