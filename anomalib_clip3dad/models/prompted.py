# SPDX-License-Identifier: Apache-2.0
"""Models whose prompts speak of a class: named by the user, by the data, or by a checkpoint."""

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import open_clip
from lightning.pytorch import LightningModule
from torch import Tensor

from anomalib_clip3dad.clip import cached_embeddings, prompt_ensemble
from anomalib_clip3dad.errors import InputError

logger = logging.getLogger(__name__)


class PromptedMixin(LightningModule):
    """Keeps the prompts' embeddings in `model.text`, a buffer, and the text tower only until they are there.

    Put it before AnomalibModule among the bases; its constructor calls `prompt_with` once `model` is made.
    """

    model: Any
    class_name: str | None
    prompts: str | list[str]

    def prompt_with(self, clip: Any, clip_model: str, prompts: str | list[str], class_name: str | None) -> None:
        """Note what to embed, and do so if the class is known.

        Args:
            clip: the open_clip model.
            clip_model: its architecture's name.
            prompts: a prompt set's name or a list of templates.
            class_name: what the part is called; None if the data will say.
        """
        self.prompts, self.class_name = prompts, class_name
        # Held in a partial so that it is no sub-module: no checkpoint holds the text tower, and set_class() lets it go.
        self._embed: Callable[..., Tensor] | None = partial(
            cached_embeddings, clip, clip_model, open_clip.get_tokenizer(clip_model)
        )
        if class_name:
            self.set_class(class_name)

    def setup(self, stage: str) -> None:
        """Take the class from the data if nobody named one.

        Raises:
            ValueError: If the trainer's precision would round the cloud to millimetres.
        """
        super().setup(stage)
        if str(getattr(self.trainer, "precision", "")) in {"16-true", "bf16-true"}:
            half = str(self.trainer.precision).removesuffix("-true")
            msg = f"precision={half}-true: half precision for everything would round the cloud to millimetres; use "
            msg += f"{half}-mixed"
            raise InputError(msg)
        if self._embed is not None:
            category = getattr(getattr(self.trainer, "datamodule", None), "category", None)
            self.set_class((category or "object").replace("_", " "))

    def set_class(self, class_name: str) -> None:
        """Embed the prompts of a class and let the text tower go.

        Args:
            class_name: what the part is called, "cable gland".

        Raises:
            RuntimeError: If the text tower is gone, since a class was set or a checkpoint loaded before.
        """
        if self._embed is None:
            msg = f"the model speaks of {self.class_name!r} already; make a new one for another class"
            raise RuntimeError(msg)
        self.class_name = class_name
        self.model.text.copy_(self._embed(*prompt_ensemble(self.prompts, class_name)))
        self._embed = None
        logger.info("Prompts speak of a %r.", class_name)

    def check_prompted(self) -> None:
        """Refuse to judge before a class is known.

        Raises:
            ValueError: If no class was set, so that there are no prompts to compare with.
        """
        if self._embed is not None:
            msg = "class_name: the model does not know what its prompts speak of; give class_name, call set_class(), "
            msg += "or load a checkpoint"
            raise InputError(msg)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Note what the prompts speak of."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["class_name"] = self.class_name

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the checkpoint's prompts, whose embeddings are among its weights."""
        super().on_load_checkpoint(checkpoint)
        self.class_name, self._embed = checkpoint["class_name"], None
