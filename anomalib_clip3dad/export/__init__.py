# SPDX-License-Identifier: Apache-2.0
"""Export of a trained model to a file: graph, metadata and compression."""

from typing import TYPE_CHECKING

from anomalib_clip3dad.lazy import lazily

if TYPE_CHECKING:
    from .metadata import Metadata
    from .mixin import RGBXYZExportMixin

__all__ = ["Metadata", "RGBXYZExportMixin"]

__getattr__ = lazily(__name__, {"Metadata": ".metadata", "RGBXYZExportMixin": ".mixin"})
