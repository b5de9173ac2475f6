# SPDX-License-Identifier: Apache-2.0
"""One picture and its 3D data in, one answer out: no Engine, no data module."""

from pathlib import Path
from typing import Any

import torch
from anomalib.data import DepthBatch
from lightning.pytorch import LightningModule

from anomalib_clip3dad.data import Intrinsics
from anomalib_clip3dad.data.arrays import Array, as_part
from anomalib_clip3dad.geometry import resize_organised


class PredictionMixin(LightningModule):
    """Gives `predict` to models whose forward takes `image` and `xyz`. Put it before AnomalibModule among the bases."""

    has_threshold: Any
    pre_processor: Any

    def at_model_size(self, image: torch.Tensor, xyz: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Bring pictures and their clouds to what the model reads, as the pre-processor does around the steps.

        Not by `self.pre_processor(image)`, which resizes without antialiasing, unlike the steps (read in anomalib
        2.7.0).

        Args:
            image: (B, 3, H, W) RGB in [0, 1].
            xyz: (B, 3, H, W) organised XYZ in metres, camera frame, (0, 0, 0) or not finite = not measured.

        Returns:
            Both of one size, (B, 3, S, S); (0, 0, 0) = not measured.
        """
        transform = getattr(self.pre_processor, "transform", None)
        image = transform(image) if transform else image
        return image, resize_organised(xyz, tuple(image.shape[-2:]))

    def predict(self, image: Array, xyz: Array, camera: Intrinsics | str | Path | None = None) -> DepthBatch:
        """Judge one part.

        Args:
            image: see `as_part`, as are `xyz` and `camera`.
            xyz: see there.
            camera: see there.

        Returns:
            A batch of one: `pred_score` (1,), `anomaly_map` (1, S, S), and `pred_label` (1,) and `pred_mask` (1, S, S)
            where a threshold is known; normalised as training's validation set it, 0.5 = threshold. `image` and
            `depth_map` are those given.

        Raises:
            FileNotFoundError: See `as_part`.
            ValueError: See `as_part`.
        """
        part = as_part(image, xyz, camera)
        was_training = self.training
        self.eval()
        try:
            with torch.inference_mode():
                found = self(*(values[None].to(self.device) for values in part))
        finally:
            self.train(was_training)
        known = self.has_threshold
        return DepthBatch(
            image=part.image[None],
            depth_map=part.xyz[None],
            pred_score=found.pred_score,
            anomaly_map=found.anomaly_map,
            pred_label=found.pred_label if known else None,
            pred_mask=found.pred_mask if known else None,
            image_path=[str(image)] if isinstance(image, str | Path) else None,
        )
