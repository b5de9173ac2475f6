# SPDX-License-Identifier: Apache-2.0
"""Checkpoints that hold what was trained, and only a fingerprint of what was not."""

from typing import Any

from lightning.pytorch import LightningModule

from anomalib_clip3dad.clip.weights import weights_hash
from anomalib_clip3dad.errors import InputError


class FrozenTowerMixin(LightningModule):
    """Leaves `model.tower` out of checkpoints; put it before AnomalibModule among the bases."""

    model: Any
    _frozen = "model.tower."

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leave the frozen tower out, and note which one it was."""
        super().on_save_checkpoint(checkpoint)
        trained = {k: v for k, v in checkpoint["state_dict"].items() if not k.startswith(self._frozen)}
        checkpoint["state_dict"] = trained
        checkpoint["tower_hash"] = weights_hash(self.model.tower)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put this model's own tower under what was trained.

        Raises:
            ValueError: If the checkpoint was trained on another tower.
        """
        super().on_load_checkpoint(checkpoint)
        if checkpoint["tower_hash"] != weights_hash(self.model.tower):
            trained_on = {key: checkpoint["hyper_parameters"].get(key) for key in ("clip_model", "pretrained")}
            msg = f"the checkpoint was trained on other CLIP weights ({trained_on}); give the same clip_model and "
            msg += "pretrained"
            raise InputError(msg)
        checkpoint["state_dict"] |= {k: v for k, v in self.state_dict().items() if k.startswith(self._frozen)}
