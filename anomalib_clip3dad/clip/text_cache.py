# SPDX-License-Identifier: Apache-2.0
"""Prompts are embedded once per class, prompt set and weights, and kept on the disk."""

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

_FORMAT = 1  # of what is kept: another number whenever `embed_prompts` gives something else
# a folder that is not there, full or not ours, a broken file, no home at all (pathlib's RuntimeError)
_UNUSABLE = (OSError, SafetensorError, KeyError, RuntimeError)


def cache_folder() -> Path:
    """Where embeddings are kept: `$XDG_CACHE_HOME/anomalib_clip3dad/text`, which is under `~/.cache` if unset."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "anomalib_clip3dad" / "text"


def cached_embeddings(
    clip: torch.nn.Module,
    clip_model: str,
    tokenizer: Callable[[list[str]], Tensor],
    normal: Sequence[str],
    anomalous: Sequence[str],
) -> Tensor:
    """Embed two sets of prompts as `embed_prompts` does, or read what it gave before.

    The file's name is a hash of the architecture, the text tower's weights, the tokens and the prompts, so that nothing
    else can be read by mistake. A folder that cannot be written to costs time, nothing more.

    Args:
        clip: an open_clip model.
        clip_model: its architecture, by open_clip's name.
        tokenizer: its tokenizer.
        normal: what is said of the flawless part.
        anomalous: what is said of the faulty part.

    Returns:
        (2, C), on the CPU: T+, T-.
    """
    text_tower = {name: value for name, value in clip.state_dict().items() if not name.startswith("visual.")}
    # the weights do not say everything: QuickGELU has none
    architecture = [_FORMAT, version("open_clip_torch"), clip_model, open_clip.get_model_config(clip_model)]
    said = [list(normal), list(anomalous), tokenizer([normal[0]]).tolist()]
    key = json.dumps([architecture, weights_hash(text_tower), said])
    name = f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.safetensors"
    try:
        return load_file(cache_folder() / name)["text"]
    except _UNUSABLE:  # not there, or not whole
        text = embed_prompts(clip, tokenizer, normal, anomalous).cpu()
    try:
        _write(cache_folder() / name, text)
    except _UNUSABLE as error:
        logger.info("Prompt embeddings are not kept, they take seconds again next time: %s", error)
    return text


def _write(file: Path, text: Tensor) -> None:
    """Complete or not at all, however many processes write at a time."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        unfinished = Path(folder) / file.name
        save_file({"text": text.contiguous()}, unfinished)
        unfinished.replace(file)
