# SPDX-License-Identifier: Apache-2.0
"""From a trained model to a file: one graph, its metadata, its compression."""

from .metadata import Metadata
from .mixin import RGBXYZExportMixin

__all__ = ["Metadata", "RGBXYZExportMixin"]
