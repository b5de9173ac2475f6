# SPDX-License-Identifier: Apache-2.0
"""One picture and its 3D data in, one answer out: no Engine, no data module."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from anomalib.data import DepthBatch
from einops import rearrange
from lightning.pytorch import LightningModule

from anomalib_clip3dad.data import Intrinsics, read_intrinsics
from anomalib_clip3dad.data.organised import as_organised, read_image, read_organised
from anomalib_clip3dad.errors import InputError

Array = str | Path | np.ndarray | torch.Tensor


class PredictionMixin(LightningModule):
    """Gives `predict` to models whose forward takes `image` and `xyz`. Put it before AnomalibModule among the bases."""

    has_threshold: Any

    def predict(self, image: Array, xyz: Array, camera: Intrinsics | str | Path | None = None) -> DepthBatch:
        """Judge one part.

        Args:
            image: a file; or RGB as array (H, W, 3), 8 bit or in [0, 1], or as tensor (3, H, W) in [0, 1].
            xyz: a file (`read_organised`); or organised XYZ in metres, camera frame, (0, 0, 0) or not finite = not
                measured, as array (H, W, 3) or as tensor (3, H, W).
            camera: for files and arrays that hold depth (H, W) or points (N, 3): its intrinsics or their file.

        Returns:
            A batch of one: `pred_score` (1,), `anomaly_map` (1, S, S), and `pred_label` (1,) and `pred_mask` (1, S, S)
            where a threshold is known; normalised as training's validation set it, 0.5 = threshold. `image` and
            `depth_map` are those given.

        Raises:
            FileNotFoundError: If a file is not there.
            ValueError: If a file cannot be read, a shape is another, or the two do not show the same pixels.
        """
        picture = _picture(image)
        size = (picture.shape[1], picture.shape[2])
        cloud = _cloud(xyz, read_intrinsics(camera) if isinstance(camera, str | Path) else camera, size)
        if cloud.shape != picture.shape:
            shown = [" x ".join(map(str, values.shape[1:])) for values in (picture, cloud)]
            msg = f"image has H x W = {shown[0]} but xyz has {shown[1]}; they must show the same pixels"
            raise InputError(msg)
        was_training = self.training
        self.eval()
        try:
            with torch.inference_mode():
                found = self(picture[None].to(self.device), cloud[None].to(self.device))
        finally:
            self.train(was_training)
        known = self.has_threshold
        return DepthBatch(
            image=picture[None],
            depth_map=cloud[None],
            pred_score=found.pred_score,
            anomaly_map=found.anomaly_map,
            pred_label=found.pred_label if known else None,
            pred_mask=found.pred_mask if known else None,
            image_path=[str(image)] if isinstance(image, str | Path) else None,
        )


def _picture(image: Array) -> torch.Tensor:
    if isinstance(image, str | Path):
        return read_image(image)
    if isinstance(image, np.ndarray) and image.ndim == 3 and image.shape[-1] == 3:
        scale = 255.0 if image.dtype == np.uint8 else 1.0
        image = torch.from_numpy(rearrange(image, "h w c -> c h w") / scale)
    if not isinstance(image, torch.Tensor) or image.ndim != 3 or image.shape[0] != 3:
        msg = f"image: found {_described(image)}; give a file, an array (H, W, 3) or a tensor (3, H, W)"
        raise InputError(msg)
    picture = image.to(torch.float32)
    if not (picture.isfinite().all() and picture.min() >= 0 and picture.max() <= 1):
        msg = f"image: found values from {picture.min():g} to {picture.max():g}; RGB in [0, 1], or 8 bit, is needed"
        raise InputError(msg)
    return picture


def _cloud(xyz: Array, camera: Intrinsics | None, size: tuple[int, int]) -> torch.Tensor:
    if isinstance(xyz, str | Path):
        return read_organised(xyz, camera, size)
    if isinstance(xyz, torch.Tensor):
        if xyz.ndim != 3 or xyz.shape[0] != 3:
            msg = f"xyz: found {_described(xyz)}; give a file, an array (H, W, 3) or a tensor (3, H, W)"
            raise InputError(msg)
        xyz = rearrange(xyz, "c h w -> h w c").cpu().numpy()
    if not isinstance(xyz, np.ndarray):
        msg = f"xyz: found {_described(xyz)}; give a file, an array (H, W, 3) or a tensor (3, H, W)"
        raise InputError(msg)
    return as_organised("xyz", xyz, camera, size)


def _described(value: Any) -> str:
    return f"{type(value).__name__} {tuple(value.shape)}" if hasattr(value, "shape") else type(value).__name__
