# SPDX-License-Identifier: Apache-2.0
"""Benchmark: a grid of jobs with the same evaluation, and tables in the layout of the paper."""

METRICS = ("image_AUROC", "image_AUPR", "pixel_AUROC", "pixel_AUPRO")
