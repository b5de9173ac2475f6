# SPDX-License-Identifier: Apache-2.0
"""Anomalies put on normal samples: where (Perlin masks), with what (textures), how (blending)."""

from .anomaly import synthesise
from .perlin import perlin_mask
from .texture import TextureSource

__all__ = ["TextureSource", "perlin_mask", "synthesise"]
