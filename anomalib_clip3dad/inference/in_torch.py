# SPDX-License-Identifier: Apache-2.0
"""A checkpoint, called as exported files are."""

from pathlib import Path

import numpy as np
import torch

from anomalib_clip3dad import models
from anomalib_clip3dad.errors import InputError
from anomalib_clip3dad.export.describe import describe
from anomalib_clip3dad.weights import load_safely

from .runtimes import Answer, Runtime


class Torch(Runtime):
    """A checkpoint in PyTorch; needs the CLIP weights that it was trained with, as any loading of it does.

    Args:
        path: The .ckpt file.
        device: cpu, cuda, or auto: an accelerator if there is one.

    Raises:
        ValueError: If the file is damaged or no checkpoint of this package, or the device is not there.
    """

    organised_only = False  # its model says what it takes

    def __init__(self, path: Path, device: str = "auto") -> None:
        self.path = path
        content = load_safely(path, "checkpoint")
        ours = isinstance(content, dict) and "tower_hash" in content
        name = content.get("model", "Clip3dAd") if ours else ""  # once there was that one alone
        kind = getattr(models, name, None)
        if kind is None:
            msg = f"{path}: this is no checkpoint of a model of anomalib_clip3dad; give one that `anomalib train` left"
            raise InputError(msg)
        place = _torch_device(device)
        self.device = str(place)
        self.model = kind.load_from_checkpoint(path, map_location="cpu").eval().to(place)
        self.metadata = describe(self.model)

    def _judge(self, image: np.ndarray, xyz: np.ndarray) -> Answer:
        with torch.inference_mode():
            answer = self.model(*(torch.from_numpy(values).to(self.model.device) for values in (image, xyz)))
        return {k: v.cpu().numpy() for k, v in answer._asdict().items() if v is not None}


def _torch_device(device: str) -> torch.device:
    if device == "auto":
        return (torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None) or torch.device(
            "cpu"
        )
    try:
        found = torch.device({"gpu": "cuda"}.get(device.lower(), device.lower()))
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        msg = f"device={device!r}: this PyTorch cannot use it ({reason}); give cpu or auto"
        raise InputError(msg) from None
    return found
