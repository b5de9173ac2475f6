# SPDX-License-Identifier: Apache-2.0
"""What the prompts speak of, from the constructor to a checkpoint and back."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from anomalib_clip3dad.clip import embed_prompts, load_clip, prompt_ensemble
from anomalib_clip3dad.errors import InputError
from anomalib_clip3dad.models import Clip3dAd, Clip3dAdPlus

MODELS = (Clip3dAd, Clip3dAdPlus)


def make(kind: Any, tiny_clip: str, **arguments: Any) -> Any:
    own = {"backbone": "resnet18", "layers": ["layer2"], "pre_trained": False} if kind is Clip3dAdPlus else {}
    return kind(clip_model=tiny_clip, pretrained=None, views=[], visualizer=False, **own, **arguments)


@pytest.mark.parametrize("kind", MODELS)
def test_both_texts_are_those_of_the_class(kind: Any, tiny_clip: str) -> None:
    import open_clip  # noqa: PLC0415

    model = make(kind, tiny_clip, class_name="cable gland", prompts="perfect")
    clip, tokenizer = load_clip(tiny_clip, None), open_clip.get_tokenizer(tiny_clip)
    torch.testing.assert_close(
        model.model.text, embed_prompts(clip, tokenizer, *prompt_ensemble("perfect", "cable gland"))
    )
    with pytest.raises(RuntimeError, match="class_name is already 'cable gland'"):
        model.set_class("gear")


@pytest.mark.parametrize("kind", MODELS)
def test_the_data_name_the_class_if_nobody_did(kind: Any, tiny_clip: str) -> None:
    model = make(kind, tiny_clip)
    with pytest.raises(InputError, match="class_name: the prompts need the name of the part"):
        model.check_prompted()
    model._trainer = SimpleNamespace(datamodule=SimpleNamespace(category="cable_gland"), precision="32-true")
    model.setup("test")
    assert model.class_name == "cable gland"
    model.check_prompted()
