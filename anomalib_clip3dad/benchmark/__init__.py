# SPDX-License-Identifier: Apache-2.0
"""Models side by side: a grid of jobs, measured alike, in the layout of the paper's tables."""

METRICS = ("image_AUROC", "image_AUPR", "pixel_AUROC", "pixel_AUPRO")
