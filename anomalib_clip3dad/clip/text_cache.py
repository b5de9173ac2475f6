# SPDX-License-Identifier: Apache-2.0
"""Cache on disk for prompt embeddings, computed once per class, prompt set and weights."""

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import open_clip
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from anomalib_clip3dad.weights import weights_hash

from .text import embed_prompts

logger = logging.getLogger(__name__)

_FORMAT = 1  # version of the cached values: increase it whenever the result of `embed_prompts` changes
# folder missing, full or not writable, a broken file, no home directory (pathlib's RuntimeError)
_UNUSABLE = (OSError, SafetensorError, KeyError, RuntimeError)


def cache_folder() -> Path:
    """Folder of the cached embeddings: `$XDG_CACHE_HOME/anomalib_clip3dad/text`, in `~/.cache` if that is unset."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "anomalib_clip3dad" / "text"


def cached_embeddings(
    clip: torch.nn.Module,
    clip_model: str,
    tokenizer: Callable[[list[str]], Tensor],
    normal: Sequence[str],
    anomalous: Sequence[str],
) -> Tensor:
    """Embed two sets of prompts as `embed_prompts` does, or read the cached result.

    The file's name is a hash of the architecture, the text tower's weights, the tokens and the prompts, so that no
    other result can be read by mistake. If the folder cannot be written to, this only costs time.

    Args:
        clip: An open_clip model.
        clip_model: Name of its architecture in open_clip.
        tokenizer: Its tokenizer.
        normal: Prompts of the normal part.
        anomalous: Prompts of the anomalous part.

    Returns:
        (2, C), T+ and T-, on the CPU.
    """
    text_tower = {name: value for name, value in clip.state_dict().items() if not name.startswith("visual.")}
    # the weights are not enough: QuickGELU has none
    architecture = [_FORMAT, version("open_clip_torch"), clip_model, open_clip.get_model_config(clip_model)]
    said = [list(normal), list(anomalous), tokenizer([normal[0]]).tolist()]
    key = json.dumps([architecture, weights_hash(text_tower), said])
    name = f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.safetensors"
    try:
        return load_file(cache_folder() / name)["text"]
    except _UNUSABLE:  # missing or incomplete
        text = embed_prompts(clip, tokenizer, normal, anomalous).cpu()
    try:
        _write(cache_folder() / name, text)
    except _UNUSABLE as error:
        logger.info("Prompt embeddings cannot be cached and are computed again next time: %s", error)
    return text


def _write(file: Path, text: Tensor) -> None:
    """Write the file completely or not at all, even if several processes write at the same time."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        unfinished = Path(folder) / file.name
        save_file({"text": text.contiguous()}, unfinished)
        unfinished.replace(file)
