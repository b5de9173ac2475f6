# SPDX-License-Identifier: Apache-2.0
"""Safe reading of weights files, and fingerprints."""

import hashlib
import io
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from anomalib_clip3dad.errors import UNSAFE, InputError, MissingFileError


def load_safely(file: str | Path, argument: str) -> Any:
    """Read a file of torch.save, of which only tensors and plain values are unpickled: anything else could run code.

    Args:
        file: Path of the file.
        argument: Name of the argument that gave the file, for the error message.

    Returns:
        What was saved, on the CPU.

    Raises:
        ValueError: If the file is damaged, no file of torch.save, or not safe to read.
    """
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:  # torch's own message says how to read the file all the same
        msg = f"{argument}: {file}: {UNSAFE}"
        raise InputError(msg) from None
    except Exception as error:  # zipfile's, torch's
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        msg = f"{argument}: {file} cannot be read ({reason}); copy it again"
        raise InputError(msg) from None


def read_state_dict(file: Path, argument: str) -> dict[str, Tensor]:
    """Read a state dict; only tensors are unpickled.

    Args:
        file: A .safetensors file, or (any other extension) a file of torch.save, in which the state dict may be an
            entry as in training checkpoints.
        argument: Name of the argument that gave the file, for the error message.

    Returns:
        The tensors by name, on the CPU.

    Raises:
        ValueError: If the file cannot be read.
    """
    safe = file.suffix == ".safetensors"
    content: Any = None if safe else load_safely(file, argument)
    try:
        if safe:
            return load_file(file)
        state = next((content[name] for name in ("state_dict", "model") if name in content), content)
        return {name.removeprefix("module."): tensor.as_subclass(Tensor) for name, tensor in state.items()}
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        msg = f"{argument}: {file} holds no weights ({reason}); give a .safetensors file, or a "
        msg += ".pt / .pth / .bin file with a plain state dict"
        raise InputError(msg) from None


def check_checkpoint(path: str | Path, argument: str) -> None:
    """Check that a file may be a checkpoint, without opening what is in it.

    Args:
        path: Path of the file; addresses (with ://) are not checked.
        argument: Name of the argument that gave the path, for the error message.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is an exported model or no file of torch.save.
    """
    file = Path(path)
    if "://" in str(path):
        return
    if not file.is_file():
        near = sorted(str(other) for other in file.parent.glob("*.ckpt")) if file.parent.is_dir() else []
        hint = f"; there is {', '.join(near)}" if near else "; trainings leave it in weights/lightning of their folder"
        msg = f"{argument}: {file}: no such checkpoint{hint}"
        raise MissingFileError(msg)
    if file.suffix in {".onnx", ".xml", ".bin"}:
        msg = f"{argument}: {file} is an exported model; give the .ckpt file of the training, or use RGBXYZInferencer"
        raise InputError(msg)
    if not zipfile.is_zipfile(file):
        msg = f"{argument}: {file} is no checkpoint, or not a whole one; copy it again or train again"
        raise InputError(msg)


def write_checkpoint(content: Mapping[str, Any], path: str | Path) -> None:
    """Write a checkpoint completely or not at all, beside its place first, so that a full disk leaves what was there.

    Args:
        content: What torch.save takes.
        path: Path of the file, whose folder is made.

    Raises:
        OSError: If it cannot be written.
    """
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()  # torch.save to a file says nothing of a full disk
    torch.save(content, buffer)
    beside = file.with_name(f"{file.name}.part")
    try:
        beside.write_bytes(buffer.getbuffer())
        beside.replace(file)
    finally:
        beside.unlink(missing_ok=True)


def file_digest(file: Path) -> str:
    """SHA-256 of a file, 64 hexadecimal digits."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def weights_hash(weights: Mapping[str, Tensor]) -> str:
    """Fingerprint of a state dict: SHA-256 over names, shapes and values, 16 hexadecimal digits.

    Example:
        >>> weights_hash({"a": torch.zeros(1)}) == weights_hash({"b": torch.zeros(1)})
        False
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
