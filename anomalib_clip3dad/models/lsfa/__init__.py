# SPDX-License-Identifier: Apache-2.0
"""LSFA (arXiv 2401.03145): self-supervised adaptation of frozen RGB and 3D features, and a memory bank of each."""

from .lightning_model import Lsfa
from .torch_model import LsfaModel

__all__ = ["Lsfa", "LsfaModel"]
