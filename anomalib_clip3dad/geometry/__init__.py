# SPDX-License-Identifier: Apache-2.0
"""Geometry as pure tensor functions: which points count, what is foreground, and how it looks from other sides."""

from .camera import Camera, place_camera, project, rotate
from .evidence import holds_evidence
from .organised import resize_organised, validity_mask
from .paints import PAINTS, check_paint
from .part_crop import PartBox, crop_image, crop_nearest, find_part, paste_map
from .plane import foreground_mask
from .renderer import MultiViewRenderer, Views, render_views
from .views import DEFAULT_VIEWS, VIEW_ANGLES, rotation_matrix, view_rotations

__all__ = [
    "DEFAULT_VIEWS",
    "PAINTS",
    "VIEW_ANGLES",
    "Camera",
    "MultiViewRenderer",
    "PartBox",
    "Views",
    "check_paint",
    "crop_image",
    "crop_nearest",
    "find_part",
    "foreground_mask",
    "holds_evidence",
    "paste_map",
    "place_camera",
    "project",
    "render_views",
    "resize_organised",
    "rotate",
    "rotation_matrix",
    "validity_mask",
    "view_rotations",
]
