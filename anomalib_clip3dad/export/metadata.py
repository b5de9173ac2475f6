# SPDX-License-Identifier: Apache-2.0
"""Metadata of exported files, and the names of their inputs and outputs."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from anomalib_clip3dad.errors import InputError

PREFIX = "anomalib_clip3dad"
INPUTS = ("image", "xyz")
OUTPUTS = ("pred_score", "pred_label", "anomaly_map", "pred_mask")
UNITS = {
    "image": "(B, 3, H, W) float32, RGB in [0, 1]",
    "xyz": "(B, 3, H, W) float32, metres, camera frame (x right, y down, z forward), (0, 0, 0) or NaN = not measured",
}


@dataclass(frozen=True)
class Metadata:
    """Metadata that is stored in the file, one string per field.

    Attributes:
        model: Name of the model's class.
        version: Version of this package.
        class_name: Name of the part in the prompts.
        training_files: Names of the shots, relative to the data folder.
        image_threshold: Raw score from which a part counts as anomalous, None if unknown; 0.5 after normalisation.
        pixel_threshold: The same for pixels of the anomaly map.
        weights_hash: Fingerprint of all weights, frozen and trained, before compression.
        input_size: Height and width of images and clouds; None for any.
        compression: fp16, int8, int8_ptq; None for float32.
        units: Layout and unit of each input.
    """

    model: str
    version: str
    class_name: str | None
    training_files: list[str]
    image_threshold: float | None
    pixel_threshold: float | None
    weights_hash: str
    input_size: tuple[int, int] | None
    compression: str | None = None
    units: dict[str, str] = field(default_factory=lambda: dict(UNITS))

    def to_texts(self) -> dict[str, str]:
        """Convert to field names and JSON strings, which both ONNX and OpenVINO can store."""
        return {name: json.dumps(value) for name, value in asdict(self).items()}

    @classmethod
    def from_texts(cls, texts: Mapping[str, str], path: Any) -> "Metadata":
        """Convert the result of `to_texts` back.

        Raises:
            ValueError: If `path`, the file that has these texts, was not exported by this package.
        """
        fields = cls.__dataclass_fields__
        try:
            found = {name: json.loads(texts[name]) for name in fields}
        except (KeyError, json.JSONDecodeError):
            msg = f"{path}: this file was not exported by anomalib_clip3dad (it lacks its metadata); export a "
            msg += "trained model with `anomalib export`"
            raise InputError(msg) from None
        found["input_size"] = found["input_size"] and tuple(found["input_size"])
        return cls(**found)
