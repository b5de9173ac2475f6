# SPDX-License-Identifier: Apache-2.0
"""Metadata of a model in PyTorch."""

from importlib.metadata import version
from typing import Any

from anomalib_clip3dad.weights import weights_hash

from .metadata import Metadata


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
