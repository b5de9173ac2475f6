# SPDX-License-Identifier: Apache-2.0
"""Anomalies put on normal samples: where (Perlin masks), with what (textures), how (blending)."""

from .anomaly import Anomalous, synthesise
from .cloud import spoil_cloud
from .perlin import perlin_mask
from .texture import TextureSource

__all__ = ["Anomalous", "TextureSource", "perlin_mask", "spoil_cloud", "synthesise"]
