# SPDX-License-Identifier: Apache-2.0
"""Clip3dAdPlus: words, a memory of the colours, a memory of the surface and what was not measured, judged together."""

from .evidence import Evidence
from .lightning_model import Clip3dAdPlus
from .torch_model import Clip3dAdPlusModel

__all__ = ["Clip3dAdPlus", "Clip3dAdPlusModel", "Evidence"]
