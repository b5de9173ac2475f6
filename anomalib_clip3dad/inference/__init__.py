# SPDX-License-Identifier: Apache-2.0
"""A trained model on the line: one inferencer for all runtimes."""

from anomalib_clip3dad.export import Metadata

from .inferencer import RGBXYZInferencer

__all__ = ["Metadata", "RGBXYZInferencer"]
