# SPDX-License-Identifier: Apache-2.0
"""From a trained model to the line: export, and one inferencer for all runtimes."""

from .export import RGBXYZExportMixin
from .inferencer import RGBXYZInferencer
from .metadata import Metadata

__all__ = ["Metadata", "RGBXYZExportMixin", "RGBXYZInferencer"]
