# SPDX-License-Identifier: Apache-2.0
"""Trained weights to start from."""

from pathlib import Path
from typing import Any

from anomalib_clip3dad.errors import InputError
from anomalib_clip3dad.weights import check_checkpoint, read_state_dict

SHIPPED = {"toy3d": Path(__file__).with_name("toy3d.safetensors")}
"""Files of this package by name: "toy3d" is what configs/gs_clip_toy3d.yaml trained (`tools/release_gs_clip.py`)."""


def load_trained(module: Any, trained: str) -> None:
    """Load the trained weights of a checkpoint, and the threshold that was set with them, into a model.

    Args:
        module: A `GsClip`.
        trained: One of `SHIPPED`, or the path of the checkpoint.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it does not fit the model.
    """
    if trained not in SHIPPED:
        check_checkpoint(trained, "trained")
    state = read_state_dict(SHIPPED.get(trained, Path(trained)), "trained")
    own = {name: value for name, value in module.state_dict().items() if not name.startswith("model.tower.")}
    needed = {name: value.shape for name, value in own.items() if name.startswith("model.")}
    if wrong := [name for name, shape in needed.items() if name not in state or state[name].shape != shape]:
        msg = f"trained={trained}: {wrong[0]} is not in it, or of another shape; give the arguments of its training"
        raise InputError(msg)
    module.load_state_dict({name: state[name] for name in own if name in state}, strict=False)
