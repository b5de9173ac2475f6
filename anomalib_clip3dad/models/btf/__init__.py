# SPDX-License-Identifier: Apache-2.0
"""Back to the Feature (BTF, arXiv 2203.05550): PatchCore on FPFH, on RGB, or on both."""

from .lightning_model import Btf
from .torch_model import BtfModel

__all__ = ["Btf", "BtfModel"]
