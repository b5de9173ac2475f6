# SPDX-License-Identifier: Apache-2.0
"""Samples of two inputs on which the ranges of 8-bit numbers are measured."""

from typing import Any

import numpy as np


def calibration_samples(datamodule: Any, at_most: int = 300) -> list[dict[str, np.ndarray]]:
    """Take a data module's training and validation samples, each once; nothing of the test set.

    Args:
        datamodule: of RGB + XYZ.
        at_most: how many; anomalib recommends 300.

    Returns:
        For each sample `image` (1, 3, H, W) RGB in [0, 1] and `xyz` (1, 3, H, W) in metres, float32.
    """
    datamodule.setup("fit")
    sets = [datamodule.train_data, *([datamodule.val_data] if hasattr(datamodule, "val_data") else [])]
    items = (samples[i] for samples in sets for i in range(len(samples)))
    return [
        {"image": item.image[None].numpy(), "xyz": item.depth_map[None].numpy()}
        for item, _ in zip(items, range(at_most), strict=False)
    ]
