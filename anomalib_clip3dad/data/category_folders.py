# SPDX-License-Identifier: Apache-2.0

"""Data sets whose categories are folders of one root, each with its splits."""

from abc import abstractmethod
from pathlib import Path
from typing import ClassVar

from anomalib.data.utils import Split

from anomalib_clip3dad.data.few_shot_datamodule import FewShotDataModule
from anomalib_clip3dad.data.organised_dataset import OrganisedDataset


class CategoryFolders(FewShotDataModule):
    """ROOT/CATEGORY with a folder for each split; a subclass sets `root` and `category`, and reads a split.

    Attributes:
        root: Folder of the categories.
        test_folder: Name of the folder of the test split.
    """

    root: Path
    test_folder: ClassVar[str] = "test"

    @property
    def folder(self) -> Path:
        """Where the samples are: ROOT/CATEGORY."""
        return self.root / self.category

    @property
    def categories(self) -> list[str]:
        """The folders of ROOT that have a test split."""
        return sorted(path.parent.name for path in self.root.glob(f"*/{self.test_folder}"))

    @abstractmethod
    def _split(self, split: Split) -> OrganisedDataset:
        """Read a split."""

    def _setup(self, _stage: str | None = None) -> None:
        self._read_splits(self._split, self.folder / self.test_folder)
