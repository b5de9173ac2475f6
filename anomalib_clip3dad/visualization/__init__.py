# SPDX-License-Identifier: Apache-2.0
"""Pictures of RGB + XYZ samples and of what was found in them; other files that results leave."""

from .panel import DepthVisualizer, depth_picture
from .result_files import ResultFiles

__all__ = ["DepthVisualizer", "ResultFiles", "depth_picture"]
