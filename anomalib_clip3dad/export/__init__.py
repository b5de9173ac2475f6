# SPDX-License-Identifier: Apache-2.0
"""Export of a trained model to a file: graph, metadata and compression."""

from .metadata import Metadata
from .mixin import RGBXYZExportMixin

__all__ = ["Metadata", "RGBXYZExportMixin"]
