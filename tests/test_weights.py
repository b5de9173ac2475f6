# SPDX-License-Identifier: Apache-2.0
"""Files of weights in the forms that people have; what is unsafe stands in test_untrusted_files."""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from anomalib_clip3dad import weights
from anomalib_clip3dad.errors import InputError
from anomalib_clip3dad.weights import check_checkpoint, file_digest, read_state_dict, weights_hash, write_checkpoint

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([1, 2])}

FORMS: dict[str, Callable[[Path], Path]] = {
    "plain": lambda folder: saved(STATE, folder / "a.pth"),
    "checkpoint": lambda folder: saved({"epoch": 3, "state_dict": STATE}, folder / "a.ckpt"),
    "model": lambda folder: saved({"model": STATE}, folder / "a.bin"),
    "of two GPUs": lambda folder: saved({f"module.{k}": v for k, v in STATE.items()}, folder / "a.pt"),
    "parameters": lambda folder: saved({k: torch.nn.Parameter(v, False) for k, v in STATE.items()}, folder / "a.pt"),
    "safetensors": lambda folder: (save_file(STATE, folder / "a.safetensors"), folder / "a.safetensors")[1],
}


def saved(content: Any, file: Path) -> Path:
    torch.save(content, file)
    return file


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_tensors(form: str, tmp_path: Path) -> None:
    found = read_state_dict(FORMS[form](tmp_path), "weights")
    assert found.keys() == STATE.keys()
    for name, tensor in STATE.items():
        assert torch.equal(found[name], tensor)
        assert type(found[name]) is Tensor


@pytest.mark.parametrize("content", [[1, 2], {"a": "text"}, {"state_dict": 3}])
def test_files_without_weights(content: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"weights: .*a\.pt holds no weights \(.*give a \.safetensors file"):
        read_state_dict(saved(content, tmp_path / "a.pt"), "weights")


@pytest.mark.parametrize("name", ["a.pt", "a.safetensors"])
def test_damaged_files(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"cut short")
    with pytest.raises(InputError, match=rf"weights: .*{name}"):
        read_state_dict(tmp_path / name, "weights")


def test_the_fingerprint_is_of_names_shapes_and_values() -> None:
    same = {"b": STATE["b"].clone(), "a.weight": STATE["a.weight"].clone()}
    assert weights_hash(same) == weights_hash(STATE)
    others = [
        STATE | {"b": torch.tensor([1, 3])},
        STATE | {"a.weight": STATE["a.weight"].reshape(3, 2)},
        {"a.weight": STATE["a.weight"], "c": STATE["b"]},
    ]
    assert len({weights_hash(state) for state in [STATE, *others]}) == 4


def test_the_digest_is_sha_256(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")  # the example of FIPS 180-2
    assert file_digest(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_checkpoints_are_looked_at_before_they_are_opened(tmp_path: Path) -> None:
    saved({}, tmp_path / "model.ckpt")
    check_checkpoint(tmp_path / "model.ckpt", "ckpt_path")
    check_checkpoint("s3://bucket/model.ckpt", "ckpt_path")
    with pytest.raises(FileNotFoundError, match=r"ckpt_path: .*wrong\.ckpt: no such checkpoint; there is .*model\."):
        check_checkpoint(tmp_path / "wrong.ckpt", "ckpt_path")
    with pytest.raises(FileNotFoundError, match="trainings leave it in weights/lightning of their folder"):
        check_checkpoint(tmp_path / "none/model.ckpt", "ckpt_path")
    for name, message in (("m.onnx", "is an exported model; give the .ckpt"), ("text.ckpt", "is no checkpoint")):
        (tmp_path / name).write_text("text")
        with pytest.raises(InputError, match=message):
            check_checkpoint(tmp_path / name, "ckpt_path")


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "folder/model.ckpt"
    write_checkpoint({"step": 1}, file)

    def full(self: Path, data: Any) -> int:
        with self.open("wb") as half:
            half.write(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        write_checkpoint({"step": 2}, file)
    assert weights.load_safely(file, "checkpoint") == {"step": 1}
    assert list(file.parent.iterdir()) == [file]
