# SPDX-License-Identifier: Apache-2.0

"""Reading of one sample as tensors: RGB image, organised XYZ of the same pixels, and ground truth mask."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from anomalib_clip3dad.data.files import (
    check_same_size,
    organised_points,
    read_arrays,
    read_file,
    read_picture,
    read_scan,
)
from anomalib_clip3dad.data.intrinsics import Intrinsics
from anomalib_clip3dad.data.masks import load_mask
from anomalib_clip3dad.errors import InputError


def read_organised(path: str | Path, camera: Intrinsics | None = None, size: tuple[int, int] | None = None) -> Tensor:
    """Read one scan as an organised point cloud, one XYZ point per pixel.

    A point with a NaN or an infinite coordinate was not measured, nor was one behind the camera or with a depth that
    stands for "no data" (`measured_depths`); all three of its coordinates become 0.

    Args:
        path: Organised XYZ (H, W, 3) of floats (.tiff, .npy, organised .pcd), camera frame (x right, y down,
            z forward); or, with a camera, a depth map (H, W) (.tiff, .npy, .exr, .png of 16 bit) or loose points in the
            camera frame (.ply, .pcd).
        camera: Intrinsics of the image that belongs to it, whose `unit` counts for every format. Without them, XYZ is
            in metres.
        size: Height and width of that image; loose points need it.

    Returns:
        (3, H, W) float32, XYZ in metres, camera frame, (0, 0, 0) = not measured.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file cannot be read, is none of the above, holds no measured point, or its unit or axes
            cannot be right.

    Example:
        >>> import tempfile
        >>> points = np.full((2, 4, 3), 0.5, dtype=np.float32)
        >>> points[0, 1, 2] = np.nan
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.save(Path(folder) / "000.npy", points)
        ...     xyz = read_organised(Path(folder) / "000.npy")
        >>> xyz.shape, xyz[:, 0, 0].tolist(), xyz[:, 0, 1].tolist()
        (torch.Size([3, 2, 4]), [0.5, 0.5, 0.5], [0.0, 0.0, 0.0])
    """
    return as_organised(path, read_scan(path), camera, size)


def as_organised(
    name: str | Path, scan: np.ndarray, camera: Intrinsics | None = None, size: tuple[int, int] | None = None
) -> Tensor:
    """Check what a scan holds, and bring it into the one form that all else works with.

    Args:
        name: Name of the scan, for the error messages.
        scan: Organised XYZ (H, W, 3), or with a camera depth (H, W) or points (N, 3), see `read_organised`.
        camera: See `read_organised`.
        size: See `read_organised`.

    Returns:
        (3, H, W) float32, XYZ in metres, camera frame, (0, 0, 0) = not measured.

    Raises:
        ValueError: See `read_organised`.
    """
    return torch.from_numpy(organised_points(name, scan, camera, size))


def read_image(path: str | Path) -> Tensor:
    """Read an image.

    Args:
        path: See `load_pixels`; 16-bit values are scaled by 65535, grey becomes three equal channels.

    Returns:
        (3, H, W) float32 RGB in [0, 1].

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read as it is, see `load_pixels` and `to_unit`, or is transparent in places.
    """
    return torch.from_numpy(read_picture(path))


def read_sample(
    image_path: str | Path, depth_path: str | Path, camera: Intrinsics | None = None
) -> tuple[Tensor, Tensor]:
    """Read the image and the point cloud of one sample and check that they show the same pixels.

    Args:
        image_path: Image, see `read_image`.
        depth_path: XYZ, depth or points, see `read_organised`.
        camera: See `read_organised`.

    Returns:
        The image, (3, H, W) float32 RGB in [0, 1], and the XYZ, (3, H, W) float32 in metres, camera frame,
        (0, 0, 0) = not measured.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file cannot be read, their heights and widths differ, or they hold too little or cannot be
            right (`check_sample`).
    """
    image, xyz = read_arrays(image_path, depth_path, camera)
    return torch.from_numpy(image), torch.from_numpy(xyz)


def read_mask(path: str | Path) -> Tensor:
    """Read a ground truth mask, whatever it marks.

    Args:
        path: See `load_mask`.

    Returns:
        (H, W) uint8, 1 = defect, 0 = normal.

    Raises:
        FileNotFoundError: If there is no such mask.
        ValueError: If it cannot be read.
    """
    return torch.from_numpy(read_file(path, load_mask, "ground truth mask").astype(np.uint8))


def read_truth(mask_path: str | Path, image_path: str | Path, image: Tensor) -> Tensor:
    """Read the ground truth mask of an anomalous sample and check that it has the size of its image.

    Args:
        mask_path: Image, see `load_mask`; what is not black marks a defect.
        image_path: Where the image came from, for the error message.
        image: (3, H, W), the image.

    Returns:
        (H, W) uint8, 1 = defect, 0 = normal.

    Raises:
        FileNotFoundError: If there is no such mask.
        ValueError: If the mask cannot be read, marks nothing, or differs in size from the image.
    """
    mask = read_mask(mask_path)
    check_same_size(image_path, image, mask_path, mask)
    if not mask.any():
        msg = f"{mask_path}: marks nothing, but {image_path} is listed as anomalous; mark the defect (white on black), "
        msg += "or put the sample among the normal ones"
        raise InputError(msg)
    return mask
