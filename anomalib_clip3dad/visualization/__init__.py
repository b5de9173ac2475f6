# SPDX-License-Identifier: Apache-2.0
"""Images of RGB + XYZ samples and their predictions, and other result files."""

from .panel import DepthVisualizer, depth_picture
from .result_files import ResultFiles

__all__ = ["DepthVisualizer", "ResultFiles", "depth_picture"]
