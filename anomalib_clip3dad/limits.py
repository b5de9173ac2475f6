# SPDX-License-Identifier: Apache-2.0
"""What a sample must hold at least to be judged, for the readers of files and for the models."""

LEAST_MEASURED = 0.01
"""Share of the pixels that need a point; the smallest parts of MVTec 3D-AD, cut out, fill some 3 %."""

LEAST_CONTRAST = 2 / 255
"""An image whose channels vary by less shows nothing."""
