# SPDX-License-Identifier: Apache-2.0

"""Few-shot training and what it means for the splits, whatever the layout of the files is."""

import logging
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Any

import torch
from anomalib.data import AnomalibDataModule
from anomalib.data.utils import Split, TestSplitMode, ValSplitMode
from anomalib.data.utils.split import random_split
from torch.utils.data import DataLoader
from torchvision.transforms.v2 import Transform

from anomalib_clip3dad.data.files import image_size
from anomalib_clip3dad.data.kept import KeptSamples
from anomalib_clip3dad.data.leaks import same_samples, sample_digest
from anomalib_clip3dad.data.organised_dataset import OrganisedDataset
from anomalib_clip3dad.data.reading import read_truth
from anomalib_clip3dad.data.shots import choose_shots, find_shots, shot_loader
from anomalib_clip3dad.data.synthetic_defects import SyntheticDefects
from anomalib_clip3dad.errors import InputError

logger = logging.getLogger(__name__)


class FewShotDataModule(AnomalibDataModule):
    """RGB + organised XYZ with k-shot training.

    A subclass sets `folder` and makes the data sets in `_setup`; there it calls `_keep_shots` once `train_data` holds
    all normal samples.

    Args:
        k_shot: Number of normal training samples to draw; None = all.
        shot_seed: Seed of the draw.
        shots: The training samples by name, e.g. ["000", "017"] (in YAML with the quotes: 017 is a number); `k_shot`
            does not count then.
        train_batch_size: Samples per training step; 4 holds each sample of the usual largest shot once.
        eval_batch_size: Samples per validation and test step.
        num_workers: Loader processes; 0 needs no `if __name__ == "__main__"` and no shared memory. Raise it when all
            training samples are used.
        train_augmentations: Transform of training samples.
        val_augmentations: Transform of validation samples.
        test_augmentations: Transform of test samples.
        augmentations: Transform of the samples for which none of the three above is given.
        test_split_mode: `from_dir`, `synthetic` (see below) or `none`.
        test_split_ratio: Part of the training samples to test on if the test set has no normal ones. With few shots, it
            is taken from the samples that are no shots; so is a validation set from training samples.
        val_split_mode: As in anomalib; `synthetic` takes the good samples that are not trained on, and each of them
            once more with a synthetic anomaly in colours or cloud. If the test set is made so, too, each gets a half.
        val_split_ratio: Part of the samples to validate on, for the modes that split.
        seed: Seed of splits and of the order of the shots; None = `shot_seed`.
    """

    seed: int  # never None, as it may be in anomalib 2.7.0: every random choice has a seed

    def __init__(
        self,
        *,
        k_shot: int | None = None,
        shot_seed: int = 0,
        shots: Sequence[str] | None = None,
        train_batch_size: int = 4,
        eval_batch_size: int = 8,
        num_workers: int = 0,
        train_augmentations: Transform | None = None,
        val_augmentations: Transform | None = None,
        test_augmentations: Transform | None = None,
        augmentations: Transform | None = None,
        test_split_mode: TestSplitMode | str = TestSplitMode.FROM_DIR,
        test_split_ratio: float = 0.2,
        val_split_mode: ValSplitMode | str = ValSplitMode.SYNTHETIC,
        val_split_ratio: float = 0.5,
        seed: int | None = None,
    ) -> None:
        super().__init__(
            train_batch_size=train_batch_size,
            eval_batch_size=eval_batch_size,
            num_workers=num_workers,
            train_augmentations=train_augmentations,
            val_augmentations=val_augmentations,
            test_augmentations=test_augmentations,
            augmentations=augmentations,
            test_split_mode=test_split_mode,
            test_split_ratio=test_split_ratio,
            val_split_mode=val_split_mode,
            val_split_ratio=val_split_ratio,
            seed=shot_seed if seed is None else seed,
        )
        self.k_shot = k_shot
        self.shot_seed = shot_seed
        self.shots = shots
        self._others: Any = None  # the training samples that are no shots, an OrganisedDataset

    @property
    @abstractmethod
    def folder(self) -> Path:
        """Where the samples are."""

    @property
    def categories(self) -> list[str]:
        """All categories of the data set, sorted; this one alone if it has no others."""
        return [self.category]

    def of_category(self, category: str) -> "FewShotDataModule":
        """Make the same data module for another category, not set up yet.

        Args:
            category: Name of the category.
        """
        other = copy(self)
        for made in ("train_data", "val_data", "test_data"):
            other.__dict__.pop(made, None)
        other.category = category
        other._is_setup = False
        return other

    @property
    def is_few_shot(self) -> bool:
        """Whether the training samples are a chosen few."""
        return self.k_shot is not None or self.shots is not None

    @property
    def training_files(self) -> list[str]:
        """The images trained on, relative to `folder`, sorted, e.g. "train/good/rgb/000.png"."""
        return [Path(path).relative_to(self.folder).as_posix() for path in self.train_data.samples.image_path]

    @property
    def training_digests(self) -> list[str]:
        """The `sample_digest` of each sample trained on."""
        samples = self.train_data.samples
        return [sample_digest(*files) for files in zip(samples.image_path, samples.depth_path, strict=True)]

    def _read_splits(self, split: Callable[[Split], OrganisedDataset], test_folder: Path) -> None:
        """Make the data sets of folders that are split already; `test_folder` is needed for `from_dir` alone."""
        self.train_data = split(Split.TRAIN)
        self._keep_shots()
        if self.test_split_mode == TestSplitMode.FROM_DIR or test_folder.is_dir():
            self.test_data = split(Split.TEST)
        else:
            self.test_data = self.train_data.subsample([])
        if self.val_split_mode == ValSplitMode.FROM_DIR:
            self.val_data = split(Split.VAL)

    def _keep_shots(self) -> None:
        """Cut `train_data` down to the shots, if there are to be few."""
        self._others = None  # of an earlier setup()
        if not self.is_few_shot:
            return
        every = self.train_data
        paths = list(every.samples.image_path)
        if self.shots is not None:
            chosen = find_shots(self.shots, paths)
        else:
            chosen = choose_shots(paths, self.k_shot or 0, self.shot_seed)
        is_chosen = every.samples.image_path.isin(chosen).to_numpy()
        self.train_data = every.subsample(list(is_chosen.nonzero()[0]))
        self._others = every.subsample(list((~is_chosen).nonzero()[0]))
        logger.info("%s: %d of %d shots: %s", self.category, len(chosen), len(paths), ", ".join(self.training_files))

    def setup(self, stage: str | None = None) -> None:
        """Make the data sets, as anomalib does; training samples are left out of those to validate and test on.

        Args:
            stage: See anomalib.

        Raises:
            ValueError: If nothing is left to test on.
        """
        fresh = not (hasattr(self, "train_data") and self._is_setup)  # as anomalib 2.7.0 tells
        super().setup(stage)
        if not fresh:
            return
        for name, purpose in (("val_data", "validation"), ("test_data", "test")):
            if hasattr(self, name):
                setattr(self, name, self._unseen(getattr(self, name), purpose))
        self._warn_of_shared_samples()

    def _unseen(self, data: Any, purpose: str) -> Any:
        """The samples that are not trained on, an OrganisedDataset."""
        paths = data.samples.image_path
        seen = same_samples(self.train_data.samples, data.samples)
        if not seen:
            return data
        left = data.subsample(list((~paths.isin(seen)).to_numpy().nonzero()[0]))
        if not len(left):
            msg = f"{self.folder}: all {len(data)} {purpose} samples are trained on; add others, lower k_shot, or set "
            msg += f"{'val' if purpose == 'validation' else purpose}_split_mode to synthetic or none"
            raise InputError(msg)
        listed = _listed(self.category, sorted(seen))
        msg = "%d of %d %s samples are training samples, and left out of it: %s"
        logger.warning(msg, len(data) - len(left), len(data), purpose, listed)
        return left

    def _warn_of_shared_samples(self) -> None:
        """Say which samples set the threshold and are tested, unless that is what was asked for."""
        if self.val_split_mode == ValSplitMode.SAME_AS_TEST or not hasattr(self, "val_data"):
            return
        both = same_samples(self.val_data.samples, self.test_data.samples)
        single = self.test_split_mode == TestSplitMode.SYNTHETIC  # where a single part may have to do for both
        if both and not single:
            msg = "%d test samples set the threshold, too, which flatters the test; give others to test on: %s"
            logger.warning(msg, len(both), _listed(self.category, sorted(both)))

    def _check_masks(self) -> None:
        """Refuse masks that cannot be read, before any training; of points, the masks are files of points, too."""
        assert isinstance(self.test_data, OrganisedDataset)  # noqa: S101
        if not self.test_data.organised:
            return
        for row in self.test_data.samples.itertuples():
            if row.mask_path:
                rows, columns = image_size(row.image_path)
                read_truth(row.mask_path, row.image_path, torch.empty((3, rows, columns), device="meta"))

    # anomalib 2.7.0: setup() calls _setup, _create_test_split and _create_val_split in this order; the latter two cut
    # held-out normal samples out of train_data, which would leave fewer than k shots.

    def _create_test_split(self) -> None:
        self._check_masks()
        if self.test_split_mode == TestSplitMode.SYNTHETIC:
            good = self._held_out(self.val_split_ratio if self._validates_on_good else self.test_split_ratio)
            # a single one has to do for both
            good = self._cut(0.5) if self._validates_on_good and len(good) > 1 else good
            self.test_data = self._synthetic("test", good, self.seed + 1)
        elif self.test_split_mode == TestSplitMode.FROM_DIR and self.is_few_shot and not self.test_data.has_normal:
            if self._validates_on_good and len(self._held_out()) == 1:
                msg = "%s: the only good part left sets the threshold, so there is none to test on; add good parts"
                logger.warning(msg, self.folder)
            else:
                self.test_data += self._cut(self.test_split_ratio)
        else:
            super()._create_test_split()

    def _create_val_split(self) -> None:
        if self.val_split_mode == ValSplitMode.SYNTHETIC:
            self.val_data = self._synthetic("validation", self._held_out(self.val_split_ratio), self.seed)
            return
        with self._beyond_the_shots(self.val_split_mode == ValSplitMode.FROM_TRAIN):
            super()._create_val_split()

    def _held_out(self, ratio: float = 0.5) -> Any:
        """The good samples that are not trained on, an OrganisedDataset; a part of all if there are no shots."""
        if self._others is None:
            self.train_data, self._others = random_split(self.train_data, ratio, seed=self.seed)
        if not len(self._others):
            msg = f"{self.folder}: every training sample is a shot, none is left to validate or test on; add good "
            msg += "samples, lower k_shot, or set val_split_mode and test_split_mode to from_dir or none"
            raise InputError(msg)
        return self._others

    @property
    def _validates_on_good(self) -> bool:
        """Whether validation, too, takes good samples that are not trained on."""
        return self.val_split_mode in {ValSplitMode.SYNTHETIC, ValSplitMode.FROM_TRAIN}

    def _cut(self, ratio: float) -> OrganisedDataset:
        """Take the test's share of the held-out samples, at least one; the others stay, one at least if needed."""
        good = self._held_out()
        order = torch.randperm(len(good), generator=torch.Generator().manual_seed(self.seed)).tolist()
        count = min(max(1, round(ratio * len(good))), len(good) - self._validates_on_good)
        self._others = good.subsample(sorted(order[count:]))
        return good.subsample(sorted(order[:count]))

    def _synthetic(self, purpose: str, good: OrganisedDataset, seed: int) -> SyntheticDefects:
        """Good samples and their synthetic anomalies."""
        names = ", ".join(Path(path).name for path in good.samples.image_path)
        logger.info(
            "%s: %s on held-out good samples and a synthetic anomaly on each: %s", self.category, purpose, names
        )
        return SyntheticDefects(good, seed)

    @contextmanager
    def _beyond_the_shots(self, cuts_train_data: bool) -> Iterator[None]:
        if not cuts_train_data or self._others is None:
            yield
            return
        self._held_out()
        shots, self.train_data = self.train_data, self._others
        try:
            yield
        finally:
            self._others, self.train_data = self.train_data, shots

    def train_dataloader(self) -> DataLoader:
        """Make the loader of the training samples.

        Returns:
            One that repeats the samples for as many steps as the trainer asks for, see `samples_to_draw`; anomalib's if
            all samples are used and the trainer counts epochs.
        """
        if not self.is_few_shot and (self.trainer is None or self.trainer.max_steps < 1):
            return super().train_dataloader()
        assert isinstance(self.train_data, OrganisedDataset)  # noqa: S101
        self.train_data.kept = KeptSamples()
        return shot_loader(self, self.seed)

    def val_dataloader(self) -> DataLoader | list[DataLoader]:
        """Make the loader of the validation samples.

        Returns:
            anomalib's loader; no loader with `val_split_mode=none`, where anomalib 2.7.0 fails for want of `val_data`.
        """
        return super().val_dataloader() if hasattr(self, "val_data") else []

    def state_dict(self) -> dict[str, Any]:
        """Give the checkpoint what was trained on.

        Returns:
            `category` and `training_files`: plain strings, which `torch.load(weights_only=True)` reads back.
        """
        if not hasattr(self, "train_data"):
            return {}
        return {"category": self.category, "training_files": self.training_files}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Log what a checkpoint was trained on; warn if that differs from the samples chosen now.

        Args:
            state_dict: What `state_dict` returned.
        """
        trained = (state_dict["category"], state_dict["training_files"])
        logger.info("The checkpoint was trained on %s", _listed(*trained))
        # Lightning 2.6 restores after setup; without train_data there is nothing to compare
        if hasattr(self, "train_data") and trained != (now := (self.category, self.training_files)):
            logger.warning(
                "The checkpoint was trained on %s, but this datamodule chose %s; the checkpoint keeps its own samples "
                "unless it is trained further. Pass the same category, shots, k_shot and shot_seed to match it.",
                _listed(*trained),
                _listed(*now),
            )


def _listed(category: str, files: Sequence[str], at_most: int = 16) -> str:
    more = f", ... ({len(files)} in all)" if len(files) > at_most else ""
    return f"{category}: {', '.join(files[:at_most])}{more}"
