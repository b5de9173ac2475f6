# SPDX-License-Identifier: Apache-2.0
"""The samples of a folder, for commands that score them."""

from pathlib import Path

from torch import Tensor

from anomalib_clip3dad.data import read_sample
from anomalib_clip3dad.data.intrinsics import find_intrinsics, read_intrinsics
from anomalib_clip3dad.data.listing import list_files
from anomalib_clip3dad.errors import MissingFileError

from .look import places


def pairs_of(data: Path) -> list[tuple[Path, Path]]:
    """List the images of a folder with their 3D files.

    Args:
        data: Folder as `clip3dad check` takes it.

    Returns:
        Paths of image and 3D file of every sample.

    Raises:
        FileNotFoundError: If there is none.
    """
    listed = [sample for place in places(data) for sample in list_files(place, masked=False).samples]
    pairs = [(sample.image, sample.scan) for sample in listed]
    if not pairs:
        msg = f"{data}: no image with a 3D file of the same name; see `clip3dad check {data}`"
        raise MissingFileError(msg)
    return pairs


def read_pair(image: Path, scan: Path, data: Path, intrinsics: Path | None = None) -> tuple[Tensor, Tensor]:
    """Read one of `pairs_of`.

    Args:
        image: Path of the image.
        scan: Path of the 3D file.
        data: Folder that both are in, where intrinsics.json may be.
        intrinsics: JSON of the camera, if it is elsewhere.

    Returns:
        Image (3, H, W) RGB in [0, 1] and XYZ (3, H, W) in metres, camera frame, (0, 0, 0) = not measured.
    """
    found = intrinsics or find_intrinsics(image.parent, data)
    return read_sample(image, scan, read_intrinsics(found) if found else None)
