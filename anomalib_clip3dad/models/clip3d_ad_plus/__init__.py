# SPDX-License-Identifier: Apache-2.0
"""Clip3dAdPlus: prompts, memory banks of colours and surface, and missing measurements, combined to one score."""

from .evidence import Evidence
from .lightning_model import Clip3dAdPlus
from .torch_model import Clip3dAdPlusModel

__all__ = ["Clip3dAdPlus", "Clip3dAdPlusModel", "Evidence"]
