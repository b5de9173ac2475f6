# SPDX-License-Identifier: Apache-2.0
"""Checkpoints with the trained weights and only a fingerprint of the frozen ones."""

import logging
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from lightning.pytorch import LightningModule
from lightning.pytorch.plugins.io import CheckpointIO, TorchCheckpointIO
from lightning.pytorch.trainer.states import TrainerFn

from anomalib_clip3dad.errors import UNSAFE, InputError
from anomalib_clip3dad.weights import check_checkpoint, weights_hash, write_checkpoint

logger = logging.getLogger(__name__)


class WholeCheckpoints(CheckpointIO):
    """Writes checkpoints completely or not at all.

    Lightning 2.6 writes to the folder for temporary files and moves the file from there. If that is on another disk,
    moving means copying, which a full disk ends halfway, in place of the checkpoint before.

    Args:
        others: What else is done with checkpoints.
    """

    def __init__(self, others: CheckpointIO) -> None:
        self._others = others

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint; see Lightning."""
        if "://" in str(path):
            self._others.save_checkpoint(checkpoint, path, storage_options)
        else:
            write_checkpoint(checkpoint, path)

    def load_checkpoint(self, path: str | Path, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Read a checkpoint; see Lightning."""
        return self._others.load_checkpoint(path, *args, **kwargs)

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove a checkpoint; see Lightning."""
        self._others.remove_checkpoint(path)


class FrozenTowerMixin(LightningModule):
    """Leaves `model.tower` out of checkpoints, and refuses to load one into a model with different arguments.

    Put it before AnomalibModule among the bases.
    """

    model: Any
    # names of constructor arguments that must equal those of the checkpoint
    must_agree: ClassVar[tuple[str, ...]] = ()
    training_files: Sequence[str] = ()  # training samples, as the data module names them
    training_digests: Sequence[str] = ()  # and what their files hold
    _frozen = "model.tower."
    _tower_hash: str | None = None

    @property
    def tower_hash(self) -> str:
        """Fingerprint of the frozen tower, if the model has one, computed once."""
        if self._tower_hash is None:
            tower = getattr(self.model, "tower", None)
            self._tower_hash = weights_hash(tower.state_dict() if tower is not None else {})
        return self._tower_hash

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: str | Path, **kwargs: Any) -> Any:  # type: ignore[override]
        """Load a model, as Lightning does.

        Args:
            checkpoint_path: Path of the checkpoint.
            **kwargs: Arguments of Lightning's `load_from_checkpoint`, and of the model, in place of the saved ones.

        Returns:
            The model.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is no checkpoint of this model, or not safe to read.
        """
        check_checkpoint(checkpoint_path, "checkpoint_path")
        try:
            return super().load_from_checkpoint(checkpoint_path, **kwargs)
        except pickle.UnpicklingError:
            msg = f"checkpoint_path: {checkpoint_path}: {UNSAFE}"
            raise InputError(msg) from None

    def on_fit_start(self) -> None:
        """Store which the training samples are, and have checkpoints written whole, unless a plugin writes them."""
        super().on_fit_start()
        strategy = self.trainer.strategy
        if type(strategy.checkpoint_io).save_checkpoint is TorchCheckpointIO.save_checkpoint:
            strategy.checkpoint_io = WholeCheckpoints(strategy.checkpoint_io)
        data = getattr(self.trainer, "datamodule", None)
        self.training_files = list(getattr(data, "training_files", ()))
        self.training_digests = list(getattr(data, "training_digests", ()))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Remove the frozen tower and add its fingerprint.

        The optimiser's state stays, so that a resumed training ends like an uninterrupted one. Adam's is twice as large
        as the trained weights.
        """
        super().on_save_checkpoint(checkpoint)
        trained = {k: v for k, v in checkpoint["state_dict"].items() if not k.startswith(self._frozen)}
        checkpoint["state_dict"] = trained
        checkpoint["tower_hash"] = self.tower_hash
        checkpoint["model"] = type(self).__name__
        checkpoint["training_files"] = list(self.training_files)
        checkpoint["training_digests"] = list(self.training_digests)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Check that the checkpoint fits, and add this model's own tower to its weights.

        Raises:
            ValueError: If the checkpoint is from another model, other arguments or another tower.
        """
        super().on_load_checkpoint(checkpoint)
        trained = checkpoint["hyper_parameters"]
        if "tower_hash" not in checkpoint:
            msg = f"ckpt_path: this is no checkpoint of {type(self).__name__}; give one of that model"
            raise InputError(msg)
        for name in self.must_agree:
            if name not in trained:  # an argument that is newer than the checkpoint
                continue
            then, now = _plain(trained[name]), _plain(self.hparams.get(name))
            if then != now:
                msg = f"ckpt_path: the checkpoint was trained with {name}={then}, this model has {name}={now}; give "
                msg += "the same"
                raise InputError(msg)
        if checkpoint["tower_hash"] != self.tower_hash:
            source = f" (pretrained={trained['pretrained']!r})" if "pretrained" in trained else ""
            msg = f"ckpt_path: the checkpoint was trained on other frozen weights{source}; give the same"
            raise InputError(msg)
        goes_on = self._trainer is not None and self._trainer.state.fn == TrainerFn.FITTING
        if goes_on and not checkpoint.get("optimizer_states") and self.configure_optimizers() is not None:
            logger.warning("The checkpoint has no optimiser state: training continues with a fresh optimiser.")
        # earlier versions saved neither
        self.training_files = checkpoint.get("training_files", ())
        self.training_digests = checkpoint.get("training_digests", ())
        checkpoint["state_dict"] |= {k: v for k, v in self.state_dict().items() if k.startswith(self._frozen)}


def _plain(value: Any) -> Any:
    """Convert tuples to lists: configs give lists, Python code tuples."""
    return list(value) if isinstance(value, list | tuple) else value
