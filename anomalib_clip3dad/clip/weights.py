# SPDX-License-Identifier: Apache-2.0
"""Building open_clip models from a name and a source of weights, without unpickling."""

import difflib
import logging
import re
from pathlib import Path
from typing import Any

import open_clip
from huggingface_hub import hf_hub_download
from open_clip.factory import convert_to_custom_text_state_dict, resize_pos_embed
from open_clip.push_to_hf_hub import HF_SAFE_WEIGHTS_NAME
from torch import Tensor, nn

from anomalib_clip3dad.errors import InputError, MissingFileError, UnreachableError
from anomalib_clip3dad.seeding import drawing_from
from anomalib_clip3dad.weights import file_digest, read_state_dict

logger = logging.getLogger(__name__)

open_clip.add_model_config(Path(__file__).parent / "model_configs")

# `pretrained="small"` reads MODEL.safetensors here; SHA256SUMS, in the format of sha256sum, lists the models.
_SMALL = Path(__file__).parent / "small"

_HUB = "hf-hub:"  # what open_clip, too, calls repositories of the Hugging Face hub

# Seed of the random weights of `pretrained=None`: checkpoints hold no frozen weights, so the tower must be the same
# again when they are loaded.
_RANDOM_SEED = 0


def load_clip(clip_model: str, pretrained: str | Path | None, image_size: int | None = None) -> Any:
    """Build an open_clip model and load its weights.

    CLIP3D-AD, section 4.1.3: ViT-B-16-plus-240 with weights trained on LAION-400M. The paper does not name the epoch;
    we use the last, tag laion400m_e32.

    Args:
        clip_model: An open_clip architecture, or ViT-Ti-Lite0-16-240 of this package.
        pretrained: One of open_clip's tags for it (downloaded once to open_clip's cache), "small" for the weights of
            ViT-Ti-Lite0-16-240 that come with this package, "hf-hub:OWNER/NAME" for the safetensors of a repository of
            the hub, the path of a local file (.safetensors, or .pt / .bin with a state dict), or None for random
            weights, drawn with a fixed seed.
        image_size: Height and width of the input images; position embeddings are interpolated. None: the size that the
            model was trained on.

    Returns:
        The model in evaluation mode, on the CPU, float32.

    Raises:
        ValueError: If the name is unknown, the weights belong to another architecture, "small" is damaged, or the
            image size is no multiple of the patch size.
        FileNotFoundError: If the weights are neither a known tag nor a file, or "small" is not installed.
        ConnectionError: If the tag's weights cannot be downloaded.
    """
    _check_name(clip_model)
    if pretrained is None:
        logger.warning(
            "pretrained=None: %s runs with RANDOM weights; its scores mean nothing. Give a tag or a weights file.",
            clip_model,
        )
        return _resized(_build(clip_model, image_size), image_size)
    source = _find_weights(clip_model, str(pretrained))  # before building, which takes seconds
    logger.info("Loading %s from %s", clip_model, source)
    model = _build(clip_model, image_size)
    _load(model, read_state_dict(source, "pretrained"), source, clip_model)
    # Some tags were trained with other means than CLIP's. A bare file cannot say so (open_clip #1068) and gets CLIP's.
    config = open_clip.get_pretrained_cfg(clip_model, str(pretrained))
    model.visual.image_mean = config.get("mean") or model.visual.image_mean
    model.visual.image_std = config.get("std") or model.visual.image_std
    return _resized(model, image_size)


def _check_name(clip_model: str) -> None:
    names = open_clip.list_models()
    if clip_model not in names:
        near = difflib.get_close_matches(clip_model, names, n=3, cutoff=0.4)
        msg = f"clip_model={clip_model!r}: open_clip knows no such architecture; "
        msg += f"did you mean {' or '.join(near)}?" if near else "see open_clip.list_models()"
        raise InputError(msg)


def _build(clip_model: str, image_size: int | None) -> Any:
    vision = open_clip.get_model_config(clip_model)["vision_cfg"]
    if image_size is not None:
        # for timm's transformers only the name shows the patch size
        in_name = re.search(r"patch(\d+)", vision.get("timm_model_name", ""))
        patch = int(in_name[1]) if in_name else vision.get("patch_size", 1)
        if image_size < 1 or image_size % patch:
            msg = f"image_size={image_size}: {clip_model} reads patches of {patch} pixels; give a multiple of {patch}"
            raise InputError(msg)
    # timm's transformers are resized after their weights are loaded, since open_clip does not do it
    size = None if "timm_model_name" in vision else image_size
    with drawing_from(_RANDOM_SEED):
        return open_clip.create_model(clip_model, force_image_size=size).eval()


def _resized(model: Any, image_size: int | None) -> Any:
    """Change the input size of a timm vision transformer."""
    trunk: Any = getattr(model.visual, "trunk", None)
    if image_size is not None and hasattr(trunk, "set_input_size"):
        trunk.set_input_size((image_size, image_size))
        model.visual.image_size = (image_size, image_size)
    return model


def _find_weights(clip_model: str, pretrained: str) -> Path:
    if Path(pretrained).is_file():
        return Path(pretrained)
    if pretrained == "small":
        return _find_small(clip_model)
    if pretrained.lower() == "openai":
        msg = "pretrained='openai': these weights are a TorchScript archive, which cannot be read without running it; "
        msg += "give pretrained=PATH of a state dict and the architecture whose name ends in -quickgelu"
        raise InputError(msg)
    if pretrained.startswith(_HUB):
        return _from_hub(pretrained)
    tags = [tag for tag in open_clip.list_pretrained_tags_by_model(clip_model) if tag != "openai"]
    tags += ["small"] if clip_model in _small_sums() else []
    known = f"known tags of {clip_model}: {', '.join(tags) or 'none'}"
    if pretrained not in tags:
        msg = f"pretrained={pretrained!r}: neither a file nor a known tag ({known}); give pretrained=PATH of a weights "
        msg += "file, or pretrained=None for random weights"
        raise MissingFileError(msg)
    try:
        return Path(open_clip.download_pretrained(open_clip.get_pretrained_cfg(clip_model, pretrained)))
    except Exception as error:
        url = open_clip.get_pretrained_url(clip_model, pretrained) or "the Hugging Face hub"
        msg = f"pretrained={pretrained!r}: the weights of {clip_model} cannot be reached ({error}). On a machine with "
        msg += f"a network they come from {url}; copy that file here and give pretrained=PATH, or give pretrained=None "
        msg += "(null) for random weights"
        raise UnreachableError(msg) from None


def _from_hub(pretrained: str) -> Path:
    """Download safetensors of the hub, once to its cache."""
    repository = pretrained.removeprefix(_HUB)
    try:
        return Path(hf_hub_download(repository, HF_SAFE_WEIGHTS_NAME))
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        msg = f"pretrained={pretrained!r}: {HF_SAFE_WEIGHTS_NAME} of {repository} cannot be reached ({reason}). On a "
        msg += (
            f"machine with a network it comes from https://huggingface.co/{repository}; copy that file here and give "
        )
        msg += "pretrained=PATH, or give pretrained=None (null) for random weights"
        raise UnreachableError(msg) from None


def _small_sums() -> dict[str, str]:
    """SHA-256 of the weights in the package by clip_model; empty if the list is missing."""
    sums = _SMALL / "SHA256SUMS"
    lines = sums.read_text(encoding="utf-8").splitlines() if sums.is_file() else []
    return {name.removesuffix(".safetensors"): digest for digest, _, name in (line.partition("  ") for line in lines)}


def _find_small(clip_model: str) -> Path:
    sums, file = _small_sums(), _SMALL / f"{clip_model}.safetensors"
    if sums and clip_model not in sums:
        msg = f"pretrained='small' belongs to clip_model={' or '.join(sums)}, not to {clip_model!r}; give that "
        msg += f"clip_model, or other weights for {clip_model}"
        raise InputError(msg)
    if not sums or not file.is_file():
        missing = file if sums else _SMALL / "SHA256SUMS"
        msg = f"pretrained='small': {missing} is not there, so the installation is incomplete; install "
        msg += "anomalib_clip3dad again"
        raise MissingFileError(msg)
    if file_digest(file) != sums[clip_model]:
        msg = f"pretrained='small': {file} is damaged (its SHA-256 is not the one in SHA256SUMS); install "
        msg += "anomalib_clip3dad again"
        raise InputError(msg)
    return file


def _load(model: nn.Module, state: dict[str, Tensor], source: Path, clip_model: str) -> None:
    if "positional_embedding" in state and not hasattr(model, "positional_embedding"):
        state = convert_to_custom_text_state_dict(state)
    resize_pos_embed(state, model)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip()
        msg = f"pretrained: {source} does not fit clip_model={clip_model!r} ({reason}); choose the architecture that "
        msg += "these weights belong to"
        raise InputError(msg) from None
