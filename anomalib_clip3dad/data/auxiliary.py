# SPDX-License-Identifier: Apache-2.0

"""Zero-shot training: labelled samples of some categories, tested on categories of which no sample was seen."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from anomalib.data import AnomalibDataModule
from anomalib.data.utils import TestSplitMode, ValSplitMode
from torch.utils.data import DataLoader

from anomalib_clip3dad.data.few_shot_datamodule import FewShotDataModule
from anomalib_clip3dad.data.kept import KeptSamples
from anomalib_clip3dad.data.leaks import same_samples, sample_digest
from anomalib_clip3dad.data.organised_dataset import OrganisedDataset
from anomalib_clip3dad.data.shots import shot_loader
from anomalib_clip3dad.data.synthetic_defects import SyntheticDefects
from anomalib_clip3dad.errors import InputError

logger = logging.getLogger(__name__)


class AuxiliaryDataModule(AnomalibDataModule):
    """Trains on normal and anomalous samples of one category or several, with masks, and tests on other categories.

    The training samples are the test samples of the source, as in PointAD and GS-CLIP, since its training samples have
    no anomalies. A source without anomalous test samples gives its normal ones instead, each also with a synthetic
    anomaly (`SyntheticDefects`). A share of them sets the threshold and is not trained on, so that the tested
    categories have no part in it. Augmentations are those of source and target.

    Args:
        source: Data module of the category to train on.
        target: Data module of the data set to test on; its own category does not count. None tests on the other
            categories of the source's data set (one-vs-rest).
        test_categories: Categories to test on; None = all of the target, or all of the source but the trained ones.
        train_categories: Categories of the source's data set to train on; None = its own category alone.
        train_batch_size: Samples per training step.
        eval_batch_size: Samples per validation and test step. Where categories differ in image size, the model's
            pre-processor must resize, as all of this package do, or this must be 1.
        num_workers: Loader processes; 0 needs no `if __name__ == "__main__"` and no shared memory.
        val_split_ratio: Share of the labelled samples that set the threshold, in [0, 1); 0 = none, and no threshold.
        seed: Seed of that share, of the order of the training samples, and of synthetic anomalies.

    Raises:
        ValueError: If the share is no share.
    """

    seed: int
    val_split_ratio: float  # anomalib 2.7.0 would take 0 for 0.5

    def __init__(
        self,
        source: FewShotDataModule,
        target: FewShotDataModule | None = None,
        test_categories: Sequence[str] | None = None,
        train_categories: Sequence[str] | None = None,
        *,
        train_batch_size: int = 4,
        eval_batch_size: int = 8,
        num_workers: int = 0,
        val_split_ratio: float = 0.2,
        seed: int = 0,
    ) -> None:
        tested = source if target is None else target
        super().__init__(
            train_batch_size=train_batch_size,
            eval_batch_size=eval_batch_size,
            num_workers=num_workers,
            train_augmentations=source.train_augmentations,
            val_augmentations=source.val_augmentations,
            test_augmentations=tested.test_augmentations,
            test_split_mode=TestSplitMode.FROM_DIR,
            val_split_mode=ValSplitMode.FROM_TRAIN,
            seed=seed,
        )
        if not 0 <= val_split_ratio < 1:
            msg = f"val_split_ratio={val_split_ratio}: a share from 0 to below 1 is needed"
            raise InputError(msg)
        self.val_split_ratio = val_split_ratio
        self.source = source
        self.target = target
        self.test_categories = test_categories
        self.train_categories = train_categories
        self.category = source.category

    @property
    def trained_categories(self) -> list[str]:
        """The categories to train on.

        Raises:
            ValueError: If one is not there, or none is given.
        """
        if self.train_categories is None:
            return [self.category]
        if not self.train_categories:
            msg = f"train_categories: none is given; give some of {', '.join(self.source.categories)}"
            raise InputError(msg)
        if unknown := [name for name in self.train_categories if name not in self.source.categories]:
            msg = f"train_categories: found no {unknown[0]}; give some of {', '.join(self.source.categories)}"
            raise InputError(msg)
        return list(dict.fromkeys(self.train_categories))

    @property
    def tested_categories(self) -> list[str]:
        """The categories to test on.

        Raises:
            ValueError: If there are none, one is not there, or a trained one is among those of its own data set.
        """
        trained = self.trained_categories if self.target is None else []
        known = (self.source if self.target is None else self.target).categories
        if self.test_categories is None:
            chosen = [name for name in known if name not in trained]
        else:
            chosen = list(dict.fromkeys(self.test_categories))
        if not chosen:
            msg = f"test_categories: none is left but {', '.join(trained)}, which is trained on; give a target"
            raise InputError(msg)
        if both := [name for name in chosen if name in trained]:
            msg = f"test_categories: {both[0]} is trained on; test on others of {', '.join(known)}"
            raise InputError(msg)
        if unknown := [name for name in chosen if name not in known]:
            msg = f"test_categories: found no {unknown[0]}; give some of {', '.join(known)}"
            raise InputError(msg)
        return chosen

    @property
    def training_files(self) -> list[str]:
        """The images trained on, relative to the source's folder, e.g. "test/hole/rgb/000.png".

        Of several categories, relative to the folder of all of them.
        """
        paths = [Path(path) for path in self.train_data.samples.image_path]
        folder = self.source.folder if len(self.trained_categories) == 1 else self.source.folder.parent
        inside = [path.relative_to(folder) if path.is_relative_to(folder) else path for path in paths]
        return list(dict.fromkeys(path.as_posix() for path in inside))

    @property
    def training_digests(self) -> list[str]:
        """The `sample_digest` of each sample trained on."""
        samples = self.train_data.samples
        pairs = dict.fromkeys(zip(samples.image_path, samples.depth_path, strict=True))
        return [sample_digest(*files) for files in pairs]

    def prepare_data(self) -> None:
        """Prepare every category that is used, as their data modules do."""
        for part in (*self._trained(), *self._tested()):
            part.prepare_data()

    def _trained(self) -> list[FewShotDataModule]:
        return [self.source.of_category(name) for name in self.trained_categories]

    def _tested(self) -> list[FewShotDataModule]:
        tested = self.source if self.target is None else self.target
        return [tested.of_category(name) for name in self.tested_categories]

    # anomalib 2.7.0: setup() calls the next three in this order

    def _setup(self, _stage: str | None = None) -> None:
        names = ", ".join(self.tested_categories)  # before anything is read
        sources = [_ready(part) for part in self._trained()]
        trained = ", ".join(self.trained_categories)
        labelled: Any = joined([(part.category, part.test_data) for part in sources])
        train: OrganisedDataset
        validation: OrganisedDataset
        if labelled.has_anomalous:
            train, validation = hold_out(labelled, self.val_split_ratio, self.seed)
        else:
            normal = joined([(part.category, _all_of(part)) for part in sources])
            train, validation = (
                SyntheticDefects(part, self.seed + place)
                for place, part in enumerate(hold_out(normal, self.val_split_ratio, self.seed))
            )
            logger.warning("%s: no anomalous sample to train on, so synthetic ones are made", trained)
        self.train_data, self.val_data = train, validation
        logger.info("trained on %d samples of %s, tested on %s", len(train), trained, names)

    def _create_test_split(self) -> None:
        parts = [(part.category, _ready(part).test_data) for part in self._tested()]
        if empty := [category for category, samples in parts if not len(samples)]:
            msg = f"{empty[0]}: no test samples; leave it out of test_categories, or set test_split_mode to from_dir"
            raise InputError(msg)
        self.test_data = self._unseen(joined(parts))

    def _create_val_split(self) -> None:
        """The validation samples were held out before."""

    def _unseen(self, data: Any) -> Any:
        """The samples, an OrganisedDataset, that neither training nor validation has seen."""
        seen = same_samples(pd.concat([self.train_data.samples, self.val_data.samples]), data.samples)
        if not seen:
            return data
        left = data.subsample(list((~data.samples.image_path.isin(seen)).to_numpy().nonzero()[0]))
        if not len(left):
            msg = f"all {len(data)} test samples are trained on or set the threshold; test on other categories"
            raise InputError(msg)
        logger.warning("%d test samples are training samples, and left out: %s", len(seen), ", ".join(seen[:16]))
        return left

    def train_dataloader(self) -> DataLoader:
        """Make the loader of the training samples, for as many steps as the trainer asks for.

        Returns:
            See `shot_loader`; the same seed gives the same order.
        """
        assert isinstance(self.train_data, OrganisedDataset)  # noqa: S101
        if not isinstance(self.train_data, SyntheticDefects):  # whose pairs share their files
            self.train_data.kept = KeptSamples()
        return shot_loader(self, self.seed)

    def val_dataloader(self) -> DataLoader | list[DataLoader]:
        """Make the loader of the validation samples.

        Returns:
            anomalib's loader; no loader if no sample is held out.
        """
        return super().val_dataloader() if len(self.val_data) else []


def _ready(part: FewShotDataModule) -> FewShotDataModule:
    """Set a data module up for its test samples alone."""
    part.val_split_mode = ValSplitMode.NONE
    part.setup()
    return part


def _all_of(part: Any) -> Any:
    """Its training and test samples."""
    return part.train_data + part.test_data if len(part.test_data) else part.train_data


def hold_out(data: Any, ratio: float, seed: int) -> tuple[Any, Any]:
    """Split samples in two, with an equal share of each label.

    Args:
        data: Normal and perhaps anomalous samples, an `OrganisedDataset`.
        ratio: Share of the second part, at least one sample of each label if it is above 0.
        seed: Seed of the draw.

    Returns:
        Both parts, each an `OrganisedDataset`.

    Raises:
        ValueError: If a label has a single sample, which cannot be in both.
    """
    held: list[int] = []
    generator = torch.Generator().manual_seed(seed)
    for label, alike in data.samples.groupby("label_index").groups.items():
        order = [alike[place] for place in torch.randperm(len(alike), generator=generator).tolist()]
        count = min(max(round(ratio * len(order)), 1), len(order) - 1) if ratio else 0
        if ratio and not count:
            kind = "anomalous" if label else "normal"
            msg = f"{data.samples.path[order[0]]}: a single {kind} sample cannot both train and set the threshold; add "
            raise InputError(msg + "some, or set val_split_ratio to 0")
        held += order[:count]
    others = sorted({*range(len(data))} - {*held})
    return data.subsample(others), data.subsample(sorted(held))


def joined(parts: Sequence[tuple[str, Any]]) -> OrganisedDataset:
    """Join samples of several categories.

    Args:
        parts: Name of each category, and its samples, an `OrganisedDataset` of the same class as all others.

    Returns:
        A data set whose table has the column `category`.
    """
    whole = parts[0][1].subsample([])
    tables = [samples.samples.assign(category=category) for category, samples in parts]
    whole.samples = pd.concat(tables, ignore_index=True).fillna({"intrinsics_path": ""})
    return whole
