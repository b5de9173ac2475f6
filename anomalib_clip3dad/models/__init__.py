# SPDX-License-Identifier: Apache-2.0
"""The models of this package, each an anomalib model."""

from .clip3d_ad import Clip3dAd

__all__ = ["Clip3dAd"]
