# SPDX-License-Identifier: Apache-2.0
"""Toy3D: procedural textured parts with defects, rendered to RGB + organised XYZ without any download."""

from anomalib_clip3dad.toy.parts import CATEGORIES
from anomalib_clip3dad.toy.pinhole import Camera, toy_camera
from anomalib_clip3dad.toy.sample import KINDS, ToySample, toy_sample
from anomalib_clip3dad.toy.writer import write_toy3d

__all__ = ["CATEGORIES", "KINDS", "Camera", "ToySample", "toy_camera", "toy_sample", "write_toy3d"]
