# SPDX-License-Identifier: Apache-2.0
"""Surfaces and points with scores, and the report of a run: one page that needs no network."""

from .page import write_about, write_report
from .surface import Surface, read_surface, scored_points, surface_of, write_surface

__all__ = [
    "Surface",
    "read_surface",
    "scored_points",
    "surface_of",
    "write_about",
    "write_report",
    "write_surface",
]
