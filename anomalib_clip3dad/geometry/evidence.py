# SPDX-License-Identifier: Apache-2.0
"""Whether an image and its cloud hold anything to judge."""

import torch
from torch import Tensor

from anomalib_clip3dad.limits import LEAST_CONTRAST, LEAST_MEASURED

from .organised import check_shape, is_unorganised, validity_mask


def holds_evidence(image: Tensor, xyz: Tensor) -> Tensor:
    """Say which samples can be judged at all.

    Args:
        image: `(B, 3, H, W)` RGB in [0, 1].
        xyz: `(B, 3, H, W)`, metres, camera frame, (0, 0, 0) or non-finite = not measured.

    Returns:
        `(B,)` bool: at least `LEAST_MEASURED` of the pixels were measured and a channel varies by `LEAST_CONTRAST`; an
        unorganised cloud needs no image.

    Raises:
        ValueError: A shape is another.

    Example:
        >>> import torch
        >>> image, xyz = torch.rand(2, 3, 8, 8), torch.ones(2, 3, 8, 8)
        >>> image[1] = 0.5
        >>> holds_evidence(image, xyz), holds_evidence(image, 0 * xyz)
        (tensor([ True, False]), tensor([False, False]))
    """
    check_shape("image", image, "(B, 3, H, W)")
    # floats, since OpenVINO 2026 gets a multiple of integer counts wrong from the second sample on
    measured = validity_mask(xyz).to(torch.float32).mean(dim=(1, 2))
    if is_unorganised(xyz):  # usually without an image
        return measured >= LEAST_MEASURED
    contrast = (image.amax(dim=(2, 3)) - image.amin(dim=(2, 3))).amax(dim=1)
    return (measured >= LEAST_MEASURED) & (contrast >= LEAST_CONTRAST)
