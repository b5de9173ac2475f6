# SPDX-License-Identifier: Apache-2.0
"""CLIP3D-AD (arXiv 2406.18941)."""

from .lightning_model import Clip3dAd
from .torch_model import Clip3dAdModel

__all__ = ["Clip3dAd", "Clip3dAdModel"]
