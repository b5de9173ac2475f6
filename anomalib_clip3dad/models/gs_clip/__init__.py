# SPDX-License-Identifier: Apache-2.0
"""GS-CLIP, zero-shot 3D anomaly detection with prompts that know the geometry (arXiv 2602.19206)."""

from .lightning_model import GsClip
from .torch_model import GsClipModel

__all__ = ["GsClip", "GsClipModel"]
