# SPDX-License-Identifier: Apache-2.0
"""Trained weights to start from: those that come with the package, or of a checkpoint."""

from pathlib import Path
from typing import Any

from anomalib_clip3dad.errors import InputError, MissingFileError
from anomalib_clip3dad.weights import read_state_dict

TOY3D = Path(__file__).parent / "trained" / "toy3d.safetensors"
"""Trained on Toy3D with the small CLIP; written by studies/gs_clip.py."""


def load_trained(module: Any, trained: str) -> None:
    """Load trained weights, and the threshold that was set with them, into a model.

    Args:
        module: A `GsClip`.
        trained: "toy3d", or the path of a checkpoint.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it does not fit the model.
    """
    file = TOY3D if trained == "toy3d" else Path(trained)
    if not file.is_file():
        msg = f"trained={trained!r}: {file} is not there; give toy3d, or the path of a checkpoint of GsClip"
        raise MissingFileError(msg)
    given = module.hparams.get("pretrained")
    if trained == "toy3d" and given != "small":
        msg = f"trained='toy3d' belongs to pretrained='small', not to {given!r}; give that CLIP, or train on it"
        raise InputError(msg)
    state = read_state_dict(file, "trained")
    own = {name: value for name, value in module.state_dict().items() if not name.startswith("model.tower.")}
    needed = {name: value.shape for name, value in own.items() if name.startswith("model.")}
    if wrong := [name for name, shape in needed.items() if name not in state or state[name].shape != shape]:
        msg = f"trained={trained!r}: {wrong[0]} is not in {file.name}, or of another shape; give the arguments that it "
        msg += "was trained with"
        raise InputError(msg)
    module.load_state_dict({name: state[name] for name in own if name in state}, strict=False)
