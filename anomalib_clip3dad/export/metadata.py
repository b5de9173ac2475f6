# SPDX-License-Identifier: Apache-2.0
"""Metadata of exported files."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import Any

from anomalib_clip3dad.errors import InputError
from anomalib_clip3dad.weights import weights_hash

PREFIX = "anomalib_clip3dad"
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


def describe(model: Any, input_size: tuple[int, int] | None = None) -> Metadata:
    """Collect the metadata of a trained model.

    Args:
        model: A model of this package.
        input_size: Height and width that it is exported for; None for any.

    Returns:
        The metadata.
    """
    post, known = model.post_processor, model.has_threshold
    return Metadata(
        model=type(model).__name__,
        version=version("anomalib_clip3dad"),
        class_name=getattr(model, "class_name", None),
        training_files=list(model.training_files),
        image_threshold=post.image_threshold.item() if known else None,
        pixel_threshold=post.pixel_threshold.item() if known else None,
        weights_hash=weights_hash(model.model.state_dict()),
        input_size=input_size,
    )
