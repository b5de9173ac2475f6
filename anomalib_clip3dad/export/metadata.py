# SPDX-License-Identifier: Apache-2.0
"""What an exported file says about itself."""

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
    """Kept in the file, one text for each field.

    Attributes:
        model: name of the model's class.
        version: of this package.
        class_name: what the prompts call the part.
        training_files: the shots, as the data module names them, without the folder that holds the data.
        image_threshold: raw score from which a part counts as faulty, None if unknown; normalised, it is 0.5.
        pixel_threshold: the same for the map's pixels.
        weights_hash: fingerprint of all weights, frozen and trained, before any compression.
        input_size: height and width of pictures and clouds; None for any.
        compression: fp16, int8, int8_ptq; None for float32.
        units: layout and unit of each input.
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
        """As name and JSON text of each field, what both ONNX and OpenVINO can keep."""
        return {name: json.dumps(value) for name, value in asdict(self).items()}

    @classmethod
    def from_texts(cls, texts: Mapping[str, str], path: Any) -> "Metadata":
        """Read back what `to_texts` gave.

        Raises:
            ValueError: If the file at `path`, whose texts these are, is not one of this package.
        """
        fields = cls.__dataclass_fields__
        try:
            found = {name: json.loads(texts[name]) for name in fields}
        except (KeyError, json.JSONDecodeError):
            msg = f"{path}: this file was not exported by anomalib_clip3dad (it has no metadata of it); export a "
            msg += "trained model with `anomalib export`"
            raise InputError(msg) from None
        found["input_size"] = found["input_size"] and tuple(found["input_size"])
        return cls(**found)


def describe(model: Any, input_size: tuple[int, int] | None = None) -> Metadata:
    """Collect what is known of a trained model.

    Args:
        model: a model of this package.
        input_size: height and width that it is exported for; None for any.

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
