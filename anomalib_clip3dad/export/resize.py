# SPDX-License-Identifier: Apache-2.0
"""Resizing of images as matrix products, since the resize filters of runtimes differ from PyTorch's."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torchvision.transforms.v2 import Compose, InterpolationMode, Resize

from anomalib_clip3dad.geometry.part_crop import cubic


def exportable(transform: nn.Module | None) -> nn.Module:
    """Convert a pre-processor's transform to an exportable one with the same result.

    Args:
        transform: Transform of (B, 3, H, W) images, or None.

    Returns:
        The transform with every antialiased `Resize` to a fixed height and width replaced by `MatrixResize`.
    """
    if transform is None:
        return nn.Identity()
    if isinstance(transform, Compose):
        return nn.Sequential(*(exportable(part) for part in transform.transforms))
    size = transform.size if isinstance(transform, Resize) and transform.antialias else None
    if size is None or len(size) != 2 or transform.interpolation not in {*KERNELS, *(mode.value for mode in KERNELS)}:
        return transform
    return MatrixResize((size[0], size[1]), InterpolationMode(transform.interpolation))  # torchvision keeps strings


class MatrixResize(nn.Module):
    """`torchvision.transforms.v2.Resize` with antialiasing as two matrix products.

    OpenVINO 2026's own antialiased cubic differs by up to 0.08 of [0, 1].

    Args:
        size: Rows and columns of the result.
        interpolation: Bilinear or bicubic.
    """

    def __init__(self, size: tuple[int, int], interpolation: InterpolationMode = InterpolationMode.BICUBIC) -> None:
        super().__init__()
        self.size = size
        self.kernel, self.reach = KERNELS[interpolation]

    def forward(self, image: Tensor) -> Tensor:
        """Resize (B, C, H, W) images."""
        rows, columns = (self._weights(image.shape[axis], self.size[axis], image) for axis in (-2, -1))
        return rows @ image @ columns.T

    def _weights(self, found: int, wanted: int, like: Tensor) -> Tensor:
        """Weight (wanted, found) of each old row in each new one."""
        old = torch.arange(found, dtype=like.dtype, device=like.device)
        count = old[-1] + 1  # a tensor, so that H and W may be unknown until the graph runs
        new = torch.arange(wanted, dtype=like.dtype, device=like.device)
        # integers up to the last division, since some runtimes divide by multiplying with a rounded inverse
        distance = ((2 * old + 1) * wanted - (2 * new[:, None] + 1) * count) / (2 * count.clamp(min=wanted))
        weights = self.kernel(distance.abs()) * (distance.abs() < self.reach)
        return weights / weights.sum(dim=1, keepdim=True)


def _triangle(x: Tensor) -> Tensor:
    return 1 - x


# kernel of the distance (in the larger of new and old pixels), and its radius
KERNELS: dict[InterpolationMode, tuple[Callable[[Tensor], Tensor], float]] = {
    InterpolationMode.BICUBIC: (cubic, 2.0),
    InterpolationMode.BILINEAR: (_triangle, 1.0),
}
