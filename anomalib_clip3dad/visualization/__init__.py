# SPDX-License-Identifier: Apache-2.0
"""Pictures of RGB + XYZ samples and of what was found in them."""

from .panel import DepthVisualizer, depth_picture

__all__ = ["DepthVisualizer", "depth_picture"]
