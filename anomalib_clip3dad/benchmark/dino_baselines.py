# SPDX-License-Identifier: Apache-2.0
"""anomalib's AnomalyDINO, FoundAD and INP-Former on RGB, with weights from any source.

Each runs with the weights that anomalib downloads, with weights from a local file, or with random weights, whose scores
mean nothing. Nothing is cropped, since every pixel is evaluated. Written for anomalib 2.7.0.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import timm
from anomalib import models
from torch import nn

from anomalib_clip3dad.models.backbone import fill, given_weights


class AnomalyDINO(models.AnomalyDINO):
    """anomalib's AnomalyDINO (arXiv 2405.14529): a memory bank of DINOv2's patches.

    Args:
        encoder_name: Name of DINOv2 in timm.
        pre_trained: Use its weights, which are downloaded; False for random weights.
        backbone_weights: Path of a local weights file, as timm names the weights, to use instead.
        image_size: Height and width of the input, a multiple of the patch size; anomalib's default.
        **kwargs: Other arguments of anomalib's class.
    """

    def __init__(
        self,
        encoder_name: str = "vit_small_patch14_dinov2",
        pre_trained: bool = True,
        backbone_weights: str | None = None,
        image_size: int = 252,
        **kwargs: Any,
    ) -> None:
        pre_processor = self.configure_pre_processor((image_size, image_size))
        with _weights_of_timm(encoder_name, pre_trained, backbone_weights):
            super().__init__(encoder_name=encoder_name, pre_processor=pre_processor, **kwargs)


class FoundAD(models.FoundAD):
    """anomalib's FoundAD (arXiv 2510.01934): learns to project DINOv2's patches back to what is normal.

    Args:
        encoder_name: anomalib's name of DINOv2 or DINOv3.
        pre_trained: Use its weights, which are downloaded; False for random weights.
        backbone_weights: Path of a local weights file, as timm names the weights, to use instead.
        image_size: Height and width of the input, a multiple of the patch size; None uses anomalib's default.
        **kwargs: Other arguments of anomalib's class.
    """

    def __init__(
        self,
        encoder_name: str = "dinov2_vit_base_14",
        pre_trained: bool = True,
        backbone_weights: str | None = None,
        image_size: int | None = None,
        **kwargs: Any,
    ) -> None:
        with _weights_of_timm(encoder_name, pre_trained, backbone_weights):
            super().__init__(encoder_name=encoder_name, image_size=image_size, **kwargs)


class InpFormer(models.InpFormer):
    """anomalib's INP-Former (arXiv 2503.02424): reconstructs DINOv2's patches from prototypes found in the same image.

    Its learning rate rises from zero for 100 epochs, and needs as many steps.

    Args:
        encoder_name: Name of DINOv2 in timm.
        pre_trained: Use its weights, which are downloaded; False for random weights.
        backbone_weights: Path of a local weights file, as timm names the weights, to use instead.
        image_size: Height and width of the input, a multiple of the patch size; the default is the size of
            anomalib's crop.
        **kwargs: Other arguments of anomalib's class.
    """

    def __init__(
        self,
        encoder_name: str = "vit_base_patch14_reg4_dinov2",
        pre_trained: bool = True,
        backbone_weights: str | None = None,
        image_size: int = 392,
        **kwargs: Any,
    ) -> None:
        pre_processor = self.configure_pre_processor((image_size, image_size), crop_size=image_size)
        with _weights_of_timm(encoder_name, pre_trained, backbone_weights):
            super().__init__(encoder_name=encoder_name, pre_processor=pre_processor, **kwargs)


@contextmanager
def _weights_of_timm(encoder_name: str, pre_trained: bool, backbone_weights: str | None) -> Iterator[None]:
    """Let anomalib's constructors, which always ask timm for its pre-trained weights, get these ones instead."""
    create = timm.create_model

    def created(*args: Any, **kwargs: Any) -> nn.Module:
        network = create(*args, **kwargs | {"pretrained": download})
        if backbone_weights is not None:
            fill(network, encoder_name, Path(backbone_weights))
        return network

    with (
        given_weights(encoder_name, pre_trained, backbone_weights) as download,
        patch.object(timm, "create_model", created),
    ):
        yield
