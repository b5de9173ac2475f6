# SPDX-License-Identifier: Apache-2.0

"""What a sample is and where it comes from; imported when first used, since files can be read without torch."""

from typing import TYPE_CHECKING

from anomalib_clip3dad.lazy import lazily

if TYPE_CHECKING:
    from anomalib_clip3dad.data.auxiliary import AuxiliaryDataModule
    from anomalib_clip3dad.data.batch import EVIDENCE_KINDS, RGBXYZBatch, RGBXYZItem
    from anomalib_clip3dad.data.eyecandies import Eyecandies
    from anomalib_clip3dad.data.folder_3d import Folder3DXYZ
    from anomalib_clip3dad.data.intrinsics import Intrinsics, read_intrinsics
    from anomalib_clip3dad.data.mvtec_3d import MVTec3DXYZ, MVTec3DXYZDataset
    from anomalib_clip3dad.data.point_clouds import PointClouds
    from anomalib_clip3dad.data.point_files import PointFile, read_labelled_points, read_points
    from anomalib_clip3dad.data.reading import read_organised, read_sample
    from anomalib_clip3dad.data.shots import KShotSampler, choose_shots
    from anomalib_clip3dad.data.toy3d import Toy3D

__all__ = [
    "EVIDENCE_KINDS",
    "AuxiliaryDataModule",
    "Eyecandies",
    "Folder3DXYZ",
    "Intrinsics",
    "KShotSampler",
    "MVTec3DXYZ",
    "MVTec3DXYZDataset",
    "PointClouds",
    "PointFile",
    "RGBXYZBatch",
    "RGBXYZItem",
    "Toy3D",
    "choose_shots",
    "read_intrinsics",
    "read_labelled_points",
    "read_organised",
    "read_points",
    "read_sample",
]

__getattr__ = lazily(
    __name__,
    {
        "AuxiliaryDataModule": ".auxiliary",
        "EVIDENCE_KINDS": ".batch",
        "RGBXYZBatch": ".batch",
        "RGBXYZItem": ".batch",
        "Eyecandies": ".eyecandies",
        "Folder3DXYZ": ".folder_3d",
        "Intrinsics": ".intrinsics",
        "read_intrinsics": ".intrinsics",
        "MVTec3DXYZ": ".mvtec_3d",
        "MVTec3DXYZDataset": ".mvtec_3d",
        "PointClouds": ".point_clouds",
        "PointFile": ".point_files",
        "read_labelled_points": ".point_files",
        "read_points": ".point_files",
        "read_organised": ".reading",
        "read_sample": ".reading",
        "KShotSampler": ".shots",
        "choose_shots": ".shots",
        "Toy3D": ".toy3d",
    },
)
