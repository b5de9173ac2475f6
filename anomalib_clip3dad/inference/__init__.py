# SPDX-License-Identifier: Apache-2.0
"""A trained model on the line: one inferencer for all runtimes; torch is imported only for what needs it."""

from typing import TYPE_CHECKING

from anomalib_clip3dad.lazy import lazily

if TYPE_CHECKING:
    from anomalib_clip3dad.export import Metadata

    from .inferencer import RGBXYZInferencer

__all__ = ["Metadata", "RGBXYZInferencer"]

__getattr__ = lazily(__name__, {"Metadata": "anomalib_clip3dad.export.metadata", "RGBXYZInferencer": ".inferencer"})
