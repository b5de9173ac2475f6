# SPDX-License-Identifier: Apache-2.0
"""Models with prompts for a class that the user, the data or a checkpoint names."""

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
    """Keeps the embeddings of the prompts in the buffer `model.text`, and the text tower only until they are computed.

    Put it before AnomalibModule among the bases; the model's constructor calls `prompt_with` after creating `model`.
    """

    model: Any
    class_name: str | None
    prompts: str | list[str]

    def prompt_with(self, clip: Any, clip_model: str, prompts: str | list[str], class_name: str | None) -> None:
        """Store what to embed, and embed it if the class is known.

        Args:
            clip: The open_clip model.
            clip_model: Name of its architecture.
            prompts: Name of a prompt set or a list of templates.
            class_name: Name of the part; None to use the data module's category.
        """
        self.prompts, self.class_name = prompts, class_name
        # In a partial, so that the text tower is not a sub-module, is in no checkpoint, and is freed by set_class().
        self._embed: Callable[..., Tensor] | None = partial(
            cached_embeddings, clip, clip_model, open_clip.get_tokenizer(clip_model)
        )
        if class_name:
            self.set_class(class_name)

    def setup(self, stage: str) -> None:
        """Take the class from the data module if none is set."""
        super().setup(stage)
        if self._embed is not None:
            category = getattr(getattr(self.trainer, "datamodule", None), "category", None)
            self.set_class((category or "object").replace("_", " "))

    def set_class(self, class_name: str) -> None:
        """Embed the prompts of a class and free the text tower.

        Args:
            class_name: Name of the part, such as "cable gland".

        Raises:
            RuntimeError: If the text tower was freed, because a class was set or a checkpoint was loaded before.
        """
        if self._embed is None:
            msg = f"class_name is already {self.class_name!r}; create a new model for another class"
            raise RuntimeError(msg)
        self.class_name = class_name
        self.model.text.copy_(self._embed(*prompt_ensemble(self.prompts, class_name)))
        self._embed = None
        logger.info("Prompts speak of a %r.", class_name)

    def check_prompted(self) -> None:
        """Raise if no class is set.

        Raises:
            ValueError: If no class was set, so that there are no prompts.
        """
        if self._embed is not None:
            msg = "class_name: the prompts need the name of the part; give class_name, call set_class(), "
            msg += "or load a checkpoint"
            raise InputError(msg)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the class to the checkpoint."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["class_name"] = self.class_name

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Use the checkpoint's class; the embeddings of its prompts are among the weights."""
        super().on_load_checkpoint(checkpoint)
        self.class_name, self._embed = checkpoint["class_name"], None
