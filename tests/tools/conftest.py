# SPDX-License-Identifier: Apache-2.0
"""A CLIP on the frozen stem that is as small as the tests' images."""

from collections.abc import Iterator
from typing import Any

import pytest
import timm
from timm.models.vision_transformer import VisionTransformer

from anomalib_clip3dad.clip.stem import vit_tiny_lite0_patch16_240
from tests.conftest import known_to_open_clip

STEM = {
    "embed_dim": 24,
    "vision_cfg": {
        "timm_model_name": "vit_test_lite0_patch16_48",
        "timm_pool": "token",
        "timm_proj": "linear",
        "image_size": 48,
    },
    "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
}


def vit_test_lite0_patch16_48(pretrained: bool = False, **kwargs: Any) -> VisionTransformer:
    size = {"img_size": 48, "embed_dim": 32, "depth": 2, "num_heads": 2}
    return vit_tiny_lite0_patch16_240(pretrained, **kwargs | size)


@pytest.fixture(scope="session")
def stem_clip(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A CLIP of 48 px, 3 x 3 tokens and 2 blocks, D = 32, C = 24, behind the stem, known to open_clip by name."""
    timm.models.register_model(vit_test_lite0_patch16_48)
    with known_to_open_clip(tmp_path_factory.mktemp("clip"), "ViT-test-stem", STEM) as name:
        yield name
