# SPDX-License-Identifier: Apache-2.0
"""Samples and batches of RGB + organised XYZ: anomalib's, with room for the evidence behind a judgement."""

from dataclasses import dataclass
from typing import ClassVar

from anomalib.data import DepthBatch, DepthItem
from torch import Tensor

EVIDENCE_KINDS = ("words", "colour", "geometry", "missing")
"""What evidence is about: what the prompts say, how the image and how the surface differ from the shots, and what was
measured on the shots and is not here, or the other way round."""


@dataclass
class RGBXYZItem(DepthItem):
    """One sample.

    Attributes:
        evidence: (4, H, W), how much each of `EVIDENCE_KINDS` adds to the anomaly map at each pixel, in units of the
            most anomalous places of normal parts; None from models that do not tell.
    """

    evidence: Tensor | None = None


@dataclass
class RGBXYZBatch(DepthBatch):
    """Several samples.

    Attributes:
        evidence: (B, 4, H, W), see `RGBXYZItem`.
    """

    item_class: ClassVar[type[RGBXYZItem]] = RGBXYZItem

    evidence: Tensor | None = None
