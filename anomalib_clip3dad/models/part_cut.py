# SPDX-License-Identifier: Apache-2.0
"""Input of a model: the whole image and cloud, or the part cropped from both and enlarged."""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from anomalib_clip3dad.geometry import PartBox, crop_image, crop_nearest, find_part

CROP_DETAIL = 2  # size of the image that a part is cropped from, relative to the model's input size


class Cut(NamedTuple):
    """Input of a model for B samples.

    Attributes:
        image: (B, 3, S, S) RGB in [0, 1].
        xyz: (B, 3, S, S), metres, camera frame, (0, 0, 0) = not measured.
        foreground: (B, S, S) bool, true = part.
        box: Position in the whole image, see `find_part`; None if nothing was cropped.
    """

    image: Tensor
    xyz: Tensor
    foreground: Tensor
    box: PartBox | None


def cut_part(image: Tensor, xyz: Tensor, foreground: Tensor, size: tuple[int, int]) -> Cut:
    """Crop image and cloud to the part and enlarge them.

    Args:
        image: (B, 3, H, W) RGB in [0, 1].
        xyz: (B, 3, H, W) organised XYZ in metres, camera frame, (0, 0, 0) = not measured.
        foreground: (B, H, W) bool, true = part.
        size: Rows and columns of the result.

    Returns:
        The cropped image, cloud and foreground, with the box that they come from.
    """
    box = find_part(foreground)
    shown = crop_nearest(foreground[:, None].to(torch.uint8), box, size)[:, 0] > 0
    return Cut(crop_image(image, box, size), crop_nearest(xyz, box, size), shown, box)


def turn(cut: Cut, degrees: float) -> Cut:
    """Rotate samples in the image plane about the centre of the image.

    Args:
        cut: Input of B samples.
        degrees: Angle in degrees, clockwise in the image.

    Returns:
        The rotated samples; pixels from outside the image are black and not measured. Points move in the image but
        keep their positions in space, since the local surface shape does not depend on them.
    """
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    back = cut.image.new_tensor([[cosine, sine, 0.0], [-sine, cosine, 0.0]])
    batch, _, height, width = cut.image.shape
    places = functional.affine_grid(back.expand(batch, -1, -1), [batch, 1, height, width], align_corners=False)
    nearest = functional.grid_sample(
        torch.cat([cut.xyz, cut.foreground[:, None].to(cut.xyz.dtype)], dim=1),
        places.to(cut.xyz.dtype),
        mode="nearest",
        align_corners=False,
    )
    image = functional.grid_sample(cut.image, places, align_corners=False)
    return Cut(image, nearest[:, :3], nearest[:, 3] > 0, cut.box)
