# SPDX-License-Identifier: Apache-2.0
"""Synthetic anomalies on normal samples: masks (Perlin noise), textures, blending, and changes of the cloud."""

from .anomaly import Anomalous, synthesise
from .cloud import spoil_cloud
from .perlin import perlin_mask
from .texture import TextureSource

__all__ = ["Anomalous", "TextureSource", "perlin_mask", "spoil_cloud", "synthesise"]
