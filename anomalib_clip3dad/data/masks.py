# SPDX-License-Identifier: Apache-2.0

"""Ground truth masks: which pixels a mask marks, whatever kind of image it is."""

from pathlib import Path

import numpy as np

from anomalib_clip3dad.data.pictures import Pixels, load_pixels
from anomalib_clip3dad.errors import InputError

_REMEDY = "save it as grey, black with the defect white"


def load_mask(path: str | Path) -> np.ndarray:
    """Read a mask.

    What differs from black marks a defect. Alpha is the mask where it differs between pixels and the colours do not,
    and so is a palette's index.

    Args:
        path: Image of any kind that `load_pixels` reads.

    Returns:
        (H, W) bool, true = defect.

    Raises:
        ValueError: If colours, alpha and palette mark different pixels, a lossy format has blurred it, or it marks all
            pixels of the rim, as inverted masks do.
        Exception: See `load_pixels`.
    """
    mask = marked(load_pixels(path))
    rim = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    if rim.all():
        msg = f"marks {mask.mean():.0%} of the image and all of its rim, so it is inverted or no mask; {_REMEDY}"
        raise InputError(msg)
    return mask


def marked(pixels: Pixels) -> np.ndarray:
    """Find the pixels that a mask marks.

    Args:
        pixels: Pixels of its file.

    Returns:
        (H, W) bool.

    Raises:
        ValueError: See `load_mask`.
    """
    values = pixels.values
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        msg = f"found NaN or infinite values; {_REMEDY}"
        raise InputError(msg)
    if pixels.lossy and len(np.unique(values)) > 2:
        msg = "found in-between values of a lossy format, so it is unclear what is marked; save it as PNG, black with "
        msg += "the defect white"
        raise InputError(msg)
    if values.dtype.kind in "if" and (values < 0).any():
        msg = f"found negative values; {_REMEDY}"
        raise InputError(msg)
    told = [np.asarray(values.any(axis=-1))]
    told += [layer > 0 for layer in (pixels.indices, pixels.alpha) if layer is not None]
    speaking = [mask for mask in told if mask.any() and not mask.all()]
    if not speaking:
        return told[0]
    if any((mask != speaking[0]).any() for mask in speaking):
        msg = f"colours, palette and alpha mark different pixels, so it is unclear which is meant; {_REMEDY}"
        raise InputError(msg)
    return speaking[0]
