# SPDX-License-Identifier: Apache-2.0
"""Geometry as pure tensor functions: which points count, what is foreground, and how it looks from other sides."""

from .camera import Camera, place_camera, project, rotate
from .evidence import holds_evidence
from .knn_smoothing import smooth_scores, spread_scores
from .organised import is_unorganised, resize_organised, validity_mask
from .paints import PAINTS, check_paint
from .part_crop import PartBox, crop_image, crop_nearest, find_part, paste_map
from .plane import foreground_mask
from .renderer import MultiViewRenderer, Views, render_views
from .unorganised import Resampled, resample
from .views import DEFAULT_VIEWS, VIEW_ANGLES, rotation_matrix, view_rotations

__all__ = [
    "DEFAULT_VIEWS",
    "PAINTS",
    "VIEW_ANGLES",
    "Camera",
    "MultiViewRenderer",
    "PartBox",
    "Resampled",
    "Views",
    "check_paint",
    "crop_image",
    "crop_nearest",
    "find_part",
    "foreground_mask",
    "holds_evidence",
    "is_unorganised",
    "paste_map",
    "place_camera",
    "project",
    "render_views",
    "resample",
    "resize_organised",
    "rotate",
    "rotation_matrix",
    "smooth_scores",
    "spread_scores",
    "validity_mask",
    "view_rotations",
]
