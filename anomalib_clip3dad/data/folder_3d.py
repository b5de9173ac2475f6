# SPDX-License-Identifier: Apache-2.0

"""Parts of one's own: a folder of good ones is enough, images and 3D files that share their names."""

import logging
from pathlib import Path
from typing import Any

import pandas as pd
from anomalib.data.utils import LabelName, TestSplitMode, ValSplitMode
from pandas import DataFrame
from torch.utils.data import DataLoader

from anomalib_clip3dad.data.few_shot_datamodule import FewShotDataModule
from anomalib_clip3dad.data.intrinsics import find_intrinsics
from anomalib_clip3dad.data.listing import list_files
from anomalib_clip3dad.data.organised_dataset import COLUMNS, OrganisedDataset
from anomalib_clip3dad.errors import InputError

logger = logging.getLogger(__name__)


class Folder3DXYZ(FewShotDataModule):
    """Images and 3D files of one's own, matched by name; see `list_files` for the layout of a folder.

    Without faulty parts, threshold and test come from good parts that are not trained on and from synthetic anomalies
    on them.

    Args:
        normal_dir: Good samples; the shots are drawn from them. `None` only predicts, with a model that needs none.
        abnormal_dir: Faulty samples to test on.
        normal_test_dir: Good samples to test on.
        mask_dir: Masks of the faulty samples, of the same names (above 0 = defect); `None` looks for `gt` and `mask` in
            `abnormal_dir`. Without masks there are no pixel metrics.
        predict_dir: New samples for `anomalib predict`; `None` takes those of the test if they are in folders.
        intrinsics: JSON of the camera (`read_intrinsics`), which depth maps and loose points need; `None` looks for
            intrinsics.json in each folder and the one above it, then in those of `normal_dir`.
        class_name: What the prompts call the part; names the folder of the results, too.
        k_shot: Number of good samples to train on; None = all that are not held out.
        val_split_mode: `synthetic`, unless told otherwise; there is no `from_dir`.
        test_split_mode: `None` tests on the folders given, or on synthetic anomalies if there are none.
        **kwargs: Further arguments of `FewShotDataModule`.

    Raises:
        FileNotFoundError: If a folder or a file of a sample is missing.
        ValueError: If files do not fit together, or a mode asks for what is not there.
    """

    def __init__(
        self,
        normal_dir: Path | str | None = None,
        abnormal_dir: Path | str | None = None,
        normal_test_dir: Path | str | None = None,
        mask_dir: Path | str | None = None,
        predict_dir: Path | str | None = None,
        intrinsics: Path | str | None = None,
        class_name: str = "object",
        *,
        k_shot: int | None = 4,
        val_split_mode: ValSplitMode | str = ValSplitMode.SYNTHETIC,
        test_split_mode: TestSplitMode | str | None = None,
        **kwargs: Any,
    ) -> None:
        tested = abnormal_dir is not None or normal_test_dir is not None
        if test_split_mode is None:
            test_split_mode = TestSplitMode.FROM_DIR if tested else TestSplitMode.SYNTHETIC
        super().__init__(k_shot=k_shot, val_split_mode=val_split_mode, test_split_mode=test_split_mode, **kwargs)
        if self.val_split_mode == ValSplitMode.FROM_DIR:
            msg = "val_split_mode=from_dir: there is no folder to validate on; use synthetic, same_as_test or none"
            raise InputError(msg)
        if self.test_split_mode == TestSplitMode.FROM_DIR and not tested:
            msg = "test_split_mode=from_dir needs abnormal_dir or normal_test_dir; give one, or use synthetic or none"
            raise InputError(msg)
        given = (normal_dir, abnormal_dir, normal_test_dir, mask_dir, predict_dir, intrinsics)
        self.normal_dir, self.abnormal_dir, self.normal_test_dir, self.mask_dir, self.predict_dir, self.intrinsics = (
            None if path is None else Path(path) for path in given
        )
        self.category = class_name
        self._check_folders()

    def _check_folders(self) -> None:
        """Refuse folders that give the same samples two labels."""
        for other in ("normal_dir", "normal_test_dir"):
            folder = getattr(self, other)
            if self.abnormal_dir and folder and self.abnormal_dir.resolve() == folder.resolve():
                msg = (
                    f"abnormal_dir={self.abnormal_dir}: the same folder as {other}, so its samples would be normal and "
                )
                msg += "anomalous; give the folder of the anomalous ones"
                raise InputError(msg)

    @property
    def folder(self) -> Path:
        """Where the good samples are.

        Raises:
            ValueError: If no folder is given.
        """
        if self.normal_dir is None:
            msg = "normal_dir: no folder of good samples is given; without one, there are only samples to predict, "
            msg += "which predict_dir gives"
            raise InputError(msg)
        return self.normal_dir

    def setup(self, stage: str | None = None) -> None:
        """Make the data sets, see `FewShotDataModule`; without good samples there is nothing to make for predictions.

        Args:
            stage: See anomalib.

        Raises:
            ValueError: If there are no good samples and it is not for predictions of others, or nothing is left.
        """
        if stage == "predict" and self.normal_dir is None and self.predict_dir is not None:
            return
        super().setup(stage)

    def _setup(self, _stage: str | None = None) -> None:
        self.train_data = OrganisedDataset(self._listed(self.folder, LabelName.NORMAL))
        self._keep_shots()
        tested = [
            self._listed(folder, label)
            for folder, label in ((self.normal_test_dir, LabelName.NORMAL), (self.abnormal_dir, LabelName.ABNORMAL))
            if folder
        ]
        self.test_data = OrganisedDataset(
            pd.concat(tested, ignore_index=True) if tested else DataFrame(columns=COLUMNS)
        )

    def _listed(self, folder: Path, label: LabelName) -> DataFrame:
        near = [place for place in (folder, self.normal_dir) if place is not None]
        file = self.intrinsics or next(filter(None, map(find_intrinsics, near)), None)
        return list_folder(folder, label, self.mask_dir).assign(intrinsics_path=str(file or ""))

    def predict_dataloader(self) -> DataLoader:
        """Make the loader of the samples to predict: those of `predict_dir`, else those of the test, which are logged.

        Raises:
            ValueError: If there is no `predict_dir`, and the test is of synthetic anomalies.
        """
        if self.predict_dir is None:
            given = [str(folder) for folder in (self.normal_test_dir, self.abnormal_dir) if folder]
            if not given:
                msg = "predict_dir: there are no samples to predict; give the folder of the new parts"
                raise InputError(msg)
            logger.warning("No predict_dir is given: the samples of the test are predicted, %s.", " and ".join(given))
            return super().predict_dataloader()
        dataset = OrganisedDataset(self._listed(self.predict_dir, LabelName.UNKNOWN))
        pre_processor = getattr(getattr(self.trainer, "model", None), "pre_processor", None)
        if transform := getattr(pre_processor, "transform", None):  # resized as the other splits are (anomalib 2.7.0)
            self._update_subset_augmentations(dataset, self.test_augmentations, transform)
        else:
            dataset.augmentations = self.test_augmentations
        return DataLoader(
            dataset=dataset,  # all by name, or Lightning 2.6 cannot make it anew
            batch_size=self.eval_batch_size,
            num_workers=self.num_workers,
            collate_fn=dataset.collate_fn,
        )


def pair_files(folder: Path) -> list[tuple[Path, Path]]:
    """Find the samples of a folder: an image and a 3D file of the same stem.

    Args:
        folder: See `list_files`.

    Returns:
        Image and 3D file of each sample, sorted by name.

    Raises:
        FileNotFoundError: If there is no such folder, no image in it, or an image has no 3D file.
        ValueError: If a stem stands for more than one image or 3D file.
    """
    listed = list_files(folder, masked=False).samples_or_error(folder)
    return [(sample.image, sample.scan) for sample in listed]


def list_folder(folder: Path, label: LabelName, masks: Path | None = None) -> DataFrame:
    """List the samples of one folder, which all have the same label.

    Args:
        folder: See `pair_files`.
        label: Label of all samples; `LabelName.UNKNOWN` for those to predict.
        masks: Folder of the masks of faulty samples, of the same stems; `None` looks for `gt` and `mask` in `folder`.

    Returns:
        One row per sample with `COLUMNS`; the mask_path is "" if there are no masks.

    Raises:
        FileNotFoundError: See `pair_files`; or a mask is missing.
        ValueError: See `pair_files`.
    """
    name = {LabelName.NORMAL: "good", LabelName.ABNORMAL: "faulty", LabelName.UNKNOWN: "unknown"}[label]
    listed = list_files(folder, masks, masked=None if label is LabelName.ABNORMAL else False)
    rows = [
        (str(folder), "", name, str(sample.image), str(sample.scan), str(sample.mask or ""), int(label))
        for sample in listed.samples_or_error(folder)
    ]
    return DataFrame(rows, columns=COLUMNS)
