# SPDX-License-Identifier: Apache-2.0
"""Frozen timm networks for image features, and their weights."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import timm
import torch
from anomalib.models.components import TimmFeatureExtractor
from torch import Tensor, nn
from torch.nn import functional

from anomalib_clip3dad import efficientnet
from anomalib_clip3dad.errors import InputError, MissingFileError, UnreachableError
from anomalib_clip3dad.seeding import drawing_from
from anomalib_clip3dad.weights import read_state_dict

logger = logging.getLogger(__name__)

_RANDOM_SEED = 0  # checkpoints hold no frozen weights, so random ones must be the same again


def load_backbone(
    backbone: str, layers: Sequence[str], pre_trained: bool = True, backbone_weights: str | Path | None = None
) -> TimmFeatureExtractor:
    """Build the feature extractor of anomalib's PatchCore.

    Args:
        backbone: A convolutional timm network.
        layers: Stages whose features are used, the finest first.
        pre_trained: Use ImageNet weights: those of tf_efficientnet_lite0 are installed, others are downloaded once to
            timm's cache. False: random weights, drawn with a fixed seed.
        backbone_weights: Path of a local file (.safetensors, or .pt / .pth with a state dict) to use instead.

    Returns:
        The extractor in evaluation mode, on the CPU.

    Raises:
        ValueError: If backbone or layers are unknown, or the file is damaged or belongs to another network.
        FileNotFoundError: If there is no such file, or the package of weights is not installed.
        ConnectionError: If timm's weights cannot be downloaded.
    """
    if not timm.is_model(backbone):
        msg = f"backbone={backbone!r}: timm knows no such network; see timm.list_models()"
        raise InputError(msg)
    installed = backbone == efficientnet.BACKBONE and pre_trained and backbone_weights is None
    with given_weights(backbone, pre_trained, backbone_weights) as download, drawing_from(_RANDOM_SEED):
        extractor = TimmFeatureExtractor(backbone, list(layers), pre_trained=download and not installed).eval()
    # anomalib only logs unknown stages and leaves them out (seen in 2.7.0)
    if extractor.layers != list(layers) or not extractor.layers:
        network: Any = timm.create_model(backbone, features_only=True)
        stages = network.feature_info.module_name()
        msg = f"layers={list(layers)}: the stages of {backbone} are {', '.join(stages)}; name some of them"
        raise InputError(msg)
    if backbone_weights is not None:
        fill(extractor.feature_extractor, backbone, Path(backbone_weights))
    elif installed:
        _take(extractor.feature_extractor, efficientnet.imagenet_weights())
    return extractor


def normalisation(extractor: TimmFeatureExtractor) -> tuple[Sequence[float], Sequence[float]]:
    """Look up the normalisation of images that a backbone was trained with.

    Args:
        extractor: Extractor from `load_backbone`.

    Returns:
        Mean and standard deviation of each channel of RGB in [0, 1].
    """
    if extractor.backbone == efficientnet.BACKBONE:
        return (efficientnet.MEAN,) * 3, (efficientnet.STD,) * 3
    network: Any = extractor.feature_extractor
    return network.pretrained_cfg["mean"], network.pretrained_cfg["std"]


@torch.no_grad()
def patch_features(extractor: TimmFeatureExtractor, image: Tensor) -> Tensor:
    """Compute the patch features of anomalib's PatchCore.

    BTF pools without padding and resizes to one grid by adaptive pooling; PatchCore pads and interpolates.

    Args:
        extractor: Extractor from `load_backbone`.
        image: `(B, 3, H, W)` RGB in [0, 1].

    Returns:
        `(B, C, h, w)`, the channels of all stages concatenated on the grid of the finest.
    """
    mean, std = (image.new_tensor(values)[:, None, None] for values in normalisation(extractor))
    features = extractor((image - mean) / std)
    finest, *others = (functional.avg_pool2d(feature, 3, 1, 1) for feature in features.values())
    grid = finest.shape[-2:]
    return torch.cat([finest, *(functional.interpolate(other, grid, mode="bilinear") for other in others)], dim=1)


@contextmanager
def given_weights(backbone: str, pre_trained: bool, backbone_weights: str | Path | None) -> Iterator[bool]:
    """Context for building a network: decides about the download, explains its errors, warns about random weights.

    Args:
        backbone: Name of the network in timm.
        pre_trained: See `load_backbone`.
        backbone_weights: See `load_backbone`.

    Yields:
        Whether timm should download its weights.

    Raises:
        FileNotFoundError: If there is no such file.
        ConnectionError: If timm's weights cannot be downloaded.
    """
    if backbone_weights is not None and not Path(backbone_weights).is_file():
        msg = f"backbone_weights={str(backbone_weights)!r}: no such file; give the path of a weights file of {backbone}"
        raise MissingFileError(msg)
    download = pre_trained and backbone_weights is None
    try:
        yield download
    except (OSError, RuntimeError) as error:
        if not download:
            raise
        reason = (str(error) or type(error).__name__).splitlines()[0]
        msg = f"pre_trained=True: the weights of {backbone} cannot be reached ({reason}); copy them here and give "
        msg += "backbone_weights=PATH, or give pre_trained=False for random weights"
        raise UnreachableError(msg) from None
    if not pre_trained and backbone_weights is None:
        msg = "pre_trained=False: %s runs with RANDOM weights; its scores mean nothing. Give backbone_weights=PATH."
        logger.warning(msg, backbone)


def fill(network: nn.Module, backbone: str, file: Path) -> None:
    """Load the weights of a file into a network, or into a part of one.

    Args:
        network: Network built by timm.
        backbone: Name of the network in timm.
        file: Weights file; it may have more entries than the network.

    Raises:
        ValueError: If the file cannot be read, or lacks weights of the network.
    """
    state = read_state_dict(file, "backbone_weights")
    own = network.state_dict()
    # the file may also hold later stages and a head, which are not used
    lacking = [name for name, value in own.items() if name not in state or state[name].shape != value.shape]
    if lacking:
        msg = f"backbone_weights: {file} does not fit backbone={backbone!r} ({lacking[0]} is missing or of another "
        msg += "shape); choose the network that these weights belong to"
        raise InputError(msg)
    _take(network, state)


def _take(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load a network, or a part of one, from a state dict that may have more entries."""
    network.load_state_dict({name: state[name] for name in network.state_dict()})
