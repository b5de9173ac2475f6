# SPDX-License-Identifier: Apache-2.0

"""Made-up parts with made-up defects in MVTec 3D-AD's layout: something to run on before any download."""

from pathlib import Path
from typing import Any

from anomalib_clip3dad.data.mvtec_3d import MVTec3DXYZ
from anomalib_clip3dad.toy import CATEGORIES, write_toy3d


class Toy3D(MVTec3DXYZ):
    """Procedural RGB + XYZ samples, written to disk once and the same for the same seed.

    Args:
        root: Folder to write to.
        category: Which part, one of `anomalib_clip3dad.toy.CATEGORIES`.
        toy_seed: Seed of the generator.
        size: Height and width of the samples in pixels.
        num_train: Normal training samples.
        num_validation: Normal validation samples.
        num_good: Normal test samples.
        num_defects: Anomalous test samples of each kind of defect.
        **kwargs: Arguments of `MVTec3DXYZ`: k_shot, shot_seed, shots, batch sizes, augmentations, split modes.
    """

    def __init__(
        self,
        root: Path | str = "./datasets/Toy3D",
        category: str = "gear",
        *,
        toy_seed: int = 0,
        size: tuple[int, int] = (240, 240),
        num_train: int = 8,
        num_validation: int = 4,
        num_good: int = 10,
        num_defects: int = 8,
        **kwargs: Any,
    ) -> None:
        # passed straight on, so that jsonargparse finds the arguments of MVTec3DXYZ for the command line
        super().__init__(root=root, category=category, **kwargs)
        self.toy_seed = toy_seed
        self.size = size
        self.num_train = num_train
        self.num_validation = num_validation
        self.num_good = num_good
        self.num_defects = num_defects

    @property
    def categories(self) -> list[str]:
        """All parts that can be made, whether or not they have been written."""
        return sorted(CATEGORIES)

    def prepare_data(self) -> None:
        """Write the samples; a folder made with equal settings is left as it is.

        Raises:
            ValueError: If the category is unknown or its folder was made with other settings.
        """
        write_toy3d(
            self.root,
            self.category,
            seed=self.toy_seed,
            size=self.size,
            train=self.num_train,
            validation=self.num_validation,
            good=self.num_good,
            defects=self.num_defects,
            progress=True,
        )

    def _setup(self, _stage: str | None = None) -> None:
        # without a trainer nobody has called it; if the folder is there, this only checks that it is of these settings
        self.prepare_data()
        super()._setup(_stage)
