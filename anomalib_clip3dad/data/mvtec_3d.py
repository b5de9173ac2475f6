# SPDX-License-Identifier: Apache-2.0

"""MVTec 3D-AD [0], and any data set in its folder layout, with few-shot training.

- [0] Bergmann et al., The MVTec 3D-AD Dataset for Unsupervised 3D Anomaly Detection and Localization, VISAPP 2022
"""

from pathlib import Path
from typing import Any

from anomalib.data.utils import Split, ValSplitMode

from anomalib_clip3dad.data.few_shot_datamodule import FewShotDataModule
from anomalib_clip3dad.data.mvtec_3d_dataset import MVTec3DXYZDataset


class MVTec3DXYZ(FewShotDataModule):
    """MVTec 3D-AD with k-shot training and its own validation split.

    Args:
        root: Folder of the categories. Nothing is downloaded.
        category: Folder of one category.
        val_split_mode: `from_dir` is the folder `validation`; others as in `FewShotDataModule`.
        **kwargs: Arguments of `FewShotDataModule`: k_shot, shot_seed, shots, batch sizes, augmentations, split modes.
    """

    def __init__(
        self,
        root: Path | str = "./datasets/MVTec3D",
        category: str = "bagel",
        *,
        val_split_mode: ValSplitMode | str = ValSplitMode.FROM_DIR,
        **kwargs: Any,
    ) -> None:
        # passed straight on, so that jsonargparse finds the arguments of FewShotDataModule for the command line
        super().__init__(val_split_mode=val_split_mode, **kwargs)
        self.root = Path(root)
        self.category = category

    @property
    def folder(self) -> Path:
        """Where the samples are: ROOT/CATEGORY."""
        return self.root / self.category

    def _setup(self, _stage: str | None = None) -> None:
        self._read_splits(self._split, self.folder / "test")

    def _split(self, split: Split) -> MVTec3DXYZDataset:
        return MVTec3DXYZDataset(root=self.root, category=self.category, split=split)
