# SPDX-License-Identifier: Apache-2.0
"""Judge parts with a trained model, be it a checkpoint or an exported file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from anomalib.data import DepthBatch

from anomalib_clip3dad.data import Intrinsics
from anomalib_clip3dad.data.arrays import Array, as_part
from anomalib_clip3dad.errors import InputError
from anomalib_clip3dad.export import Metadata

from .runtimes import open_model


class RGBXYZInferencer:
    """A trained model of RGB + XYZ in ONNX Runtime, OpenVINO or PyTorch, called the same way.

    Args:
        path: .onnx for ONNX Runtime, .xml for OpenVINO, .ckpt for PyTorch.
        device: cpu, gpu (cuda is the same but for OpenVINO), or auto: what the runtime prefers.
        precision: f32; for OpenVINO also bf16 or f16, which may be faster and moves scores.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged or not of this package, or device or precision cannot be had.
    """

    def __init__(self, path: str | Path, device: str = "auto", precision: str = "f32") -> None:
        self._run = open_model(path, device, precision)

    @property
    def metadata(self) -> Metadata:
        """What the file says about itself."""
        return self._run.metadata

    def predict(self, image: Array, xyz: Array, camera: Intrinsics | str | Path | None = None) -> DepthBatch:
        """Judge one part; arguments are those of `as_part`, answer and errors those of `predict_batch`."""
        return self.predict_batch([image], [xyz], camera)

    def predict_batch(
        self, images: Sequence[Array], xyz: Sequence[Array], camera: Intrinsics | str | Path | None = None
    ) -> DepthBatch:
        """Judge several parts at once.

        Args:
            images: B images, each as `as_part` takes it; or one array or tensor that holds them along its first axis.
            xyz: Their clouds, likewise.
            camera: Intrinsics of all of them, see `as_part`.

        Returns:
            `pred_score` (B,), `anomaly_map` (B, S, S), and `pred_label` (B,) and `pred_mask` (B, S, S) where a
            threshold is known; normalised as training's validation set it, 0.5 = threshold. `image` and `depth_map` are
            those given, all on the CPU.

        Raises:
            FileNotFoundError: If a file is not there.
            ValueError: See `as_part`; or if there are none, not as many of the one as of the other, their sizes differ,
                or the file was exported for another size.
        """
        counts = [_count(values) for values in (images, xyz)]
        if isinstance(images, str | Path) or isinstance(xyz, str | Path) or counts[0] != counts[1] or not counts[0]:
            msg = (
                f"predict_batch: found {counts[0]} images and {counts[1]} clouds; give a list of each, of one length, "
            )
            msg += "or call predict for a single part"
            raise InputError(msg)
        parts = [as_part(*pair, camera) for pair in zip(images, xyz, strict=True)]
        sizes = sorted({(part.image.shape[1], part.image.shape[2]) for part in parts})
        if len(sizes) > 1:
            found = ", ".join(f"{rows} x {columns}" for rows, columns in sizes)
            msg = f"predict_batch: found parts of {found} pixels; give those of one size together"
            raise InputError(msg)
        image, cloud = (torch.stack(values) for values in zip(*parts, strict=True))
        answer: dict[str, Any] = {
            name: torch.from_numpy(values) for name, values in self._run(image.numpy(), cloud.numpy()).items()
        }
        if self.metadata.image_threshold is None:  # labels would mean nothing
            answer = {name: answer[name] for name in ("pred_score", "anomaly_map")}
        paths = [str(path) for path in images if isinstance(path, str | Path)]
        return DepthBatch(image=image, depth_map=cloud, image_path=paths or None, **answer)


def _count(values: Any) -> int:
    if isinstance(values, str | Path):
        return 1
    return len(values) if getattr(values, "ndim", 1) and hasattr(values, "__getitem__") else 0
