# SPDX-License-Identifier: Apache-2.0
"""Former name of `export` and `inference`, kept for scripts that import from it."""

import warnings

from .export import Metadata, RGBXYZExportMixin
from .inference import RGBXYZInferencer

__all__ = ["Metadata", "RGBXYZExportMixin", "RGBXYZInferencer"]

warnings.warn("anomalib_clip3dad.deploy is now anomalib_clip3dad.inference", DeprecationWarning, stacklevel=2)
