# SPDX-License-Identifier: Apache-2.0

"""Few-shot training data: which k normal samples, and how they are repeated during training."""

import math
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import torch
from anomalib.data import AnomalibDataModule
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader, DistributedSampler

from anomalib_clip3dad.errors import InputError


def choose_shots(candidates: Sequence[str], k_shot: int, shot_seed: int) -> list[str]:
    """Draw k normal samples without replacement.

    The draw depends on the sorted names and the seed alone. Draws of one seed are nested: the 1- and 2-shot draws are
    the first 1 and 2 of the 4-shot draw, so that more shots never mean other shots.

    Args:
        candidates: Names or paths of the normal training samples, in any order.
        k_shot: How many to draw, at least 1.
        shot_seed: Seed of the draw.

    Returns:
        The k chosen candidates, in the order in which they were drawn.

    Raises:
        ValueError: If k is below 1, or there are fewer than k candidates.

    Example:
        >>> names = [f"{number:03d}.png" for number in range(10)]
        >>> choose_shots(names, k_shot=4, shot_seed=0)
        ['004.png', '001.png', '007.png', '005.png']
        >>> choose_shots(names[::-1], k_shot=2, shot_seed=0)
        ['004.png', '001.png']
    """
    if k_shot < 1:
        msg = f"k_shot={k_shot}: at least 1 normal sample is needed; pass k_shot=None for all of them"
        raise InputError(msg)
    found = sorted(set(candidates))
    if len(found) < k_shot:
        msg = f"k_shot={k_shot} but {_where(found)} holds {len(found)} normal samples; lower k_shot or add some there"
        raise InputError(msg)
    # a generator of its own: what was drawn elsewhere before must not change the shots
    order = torch.randperm(len(found), generator=torch.Generator().manual_seed(shot_seed))
    return [found[index] for index in order[:k_shot].tolist()]


def find_shots(shots: Sequence[str], candidates: Sequence[str]) -> list[str]:
    """Find the samples that the user named.

    Args:
        shots: File stems ("000") or file names ("000.png"), with or without their folders in front.
        candidates: Paths of the normal training samples.

    Returns:
        The candidates named, in the order of `shots`.

    Raises:
        ValueError: If a shot is unknown or named twice, or none is named.

    Example:
        >>> find_shots(["002", "000.png"], ["good/rgb/000.png", "good/rgb/001.png", "good/rgb/002.png"])
        ['good/rgb/002.png', 'good/rgb/000.png']
    """
    known = {name: path for path in candidates for name in (Path(path).name, Path(path).stem)}
    wanted = [Path(shot).name for shot in shots]
    if unknown := [name for name in wanted if name not in known]:
        stems = sorted({Path(path).stem for path in candidates})
        nearest = [f"{name!r} (nearest: {', '.join(get_close_matches(name, stems, cutoff=0.0))})" for name in unknown]
        msg = f"shots not found in {_where(candidates)}: {'; '.join(nearest)}; correct the names in shots="
        raise InputError(msg)
    found = [known[name] for name in wanted]
    if not found or len(set(found)) < len(found):
        msg = f"shots={list(shots)}: name at least one sample and each only once; drop shots= to use all"
        raise InputError(msg)
    return found


def samples_to_draw(trainer: Trainer | None, num_shots: int, batch_size: int) -> int:
    """Count the samples of one training epoch over a few shots.

    Args:
        trainer: With `max_steps` set, one epoch holds all of these steps: validation and start-up cost of an epoch
            would otherwise come after every single batch.
        num_shots: k, the number of different samples.
        batch_size: Samples in a batch on one device.

    Returns:
        The number of samples of all processes together, whole batches for each; without `max_steps` one pass over the
        shots.

    Example:
        >>> samples_to_draw(None, num_shots=5, batch_size=4)
        8
    """
    together = batch_size * (trainer.world_size if trainer else 1)
    if trainer is None or trainer.max_steps < 1:
        return math.ceil(num_shots / together) * together
    return trainer.max_steps * trainer.accumulate_grad_batches * together


class KShotSampler(DistributedSampler[int]):
    """Draws the k shots for as many samples as asked.

    The indices come in rounds, each a random permutation of the k shots, so the shots are seen equally often. Every
    iteration starts the next epoch with another order; `set_epoch`, which Lightning calls by itself, picks one. The
    same seed and epoch give the same order. Several processes take turns, so that their batches together are those of
    one process with a batch as large.

    Args:
        num_shots: k, the number of different samples.
        num_samples: How many indices one epoch yields to all processes together.
        seed: Seed of the order.
        rank: Number of this process.
        world_size: Number of processes; a divisor of `num_samples`.

    Raises:
        ValueError: If a count is below 1, or the processes cannot share evenly.

    Example:
        >>> sampler = KShotSampler(num_shots=2, num_samples=5, seed=0)
        >>> first, second = list(sampler), list(sampler)
        >>> sorted(first[:2]), sorted(first[2:4]), len(sampler)
        ([0, 1], [0, 1], 5)
    """

    # a DistributedSampler, since Lightning 2.6 would shuffle any other one anew for several processes
    def __init__(self, num_shots: int, num_samples: int, seed: int = 0, rank: int = 0, world_size: int = 1) -> None:
        if num_shots < 1 or num_samples < 1:
            msg = f"num_shots={num_shots}, num_samples={num_samples}: both must be at least 1"
            raise ValueError(msg)
        if num_samples % world_size:
            msg = f"num_samples={num_samples}: a multiple of world_size={world_size} is needed"
            raise ValueError(msg)
        super().__init__(range(num_samples), num_replicas=world_size, rank=rank, seed=seed)  # type: ignore[arg-type]
        self.num_shots = num_shots
        self.skip = 0  # indices that the next iteration leaves out, since they were drawn before

    def __iter__(self) -> Iterator[int]:
        epoch, self.epoch = self.epoch, self.epoch + 1
        skip, self.skip = self.skip, 0
        # mixed, not added: with seed + epoch, the second epoch of one run would be the first of the next seed's run
        mixed = int(np.random.SeedSequence([self.seed, epoch]).generate_state(1)[0])
        generator = torch.Generator().manual_seed(mixed)
        rounds = math.ceil(self.total_size / self.num_shots)
        drawn = torch.cat([torch.randperm(self.num_shots, generator=generator) for _ in range(rounds)])
        yield from drawn[self.rank : self.total_size : self.num_replicas].tolist()[skip:]


class ShotLoader(DataLoader[Any]):
    """Loader of the shots that goes on where an interrupted epoch stopped.

    Lightning keeps its state in checkpoints; any other loader begins the epoch anew, with samples that were seen.
    Takes the arguments of torch's loader, with a `KShotSampler` as `sampler` and a `batch_size`.
    """

    _batches = 0  # of this epoch, so far

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        """Load the batches that are left of the epoch."""
        for batch in super().__iter__():
            self._batches += 1
            yield batch
        self._batches = 0

    def state_dict(self) -> dict[str, int]:
        """How many batches of the epoch were loaded."""
        return {"batches": self._batches}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Leave out in the next iteration what was loaded."""
        assert isinstance(self.sampler, KShotSampler) and self.batch_size  # noqa: PT018, S101
        self._batches = state_dict["batches"] % len(self)
        self.sampler.skip = self._batches * self.batch_size


def shot_loader(data: AnomalibDataModule, seed: int) -> ShotLoader:
    """Make the loader of a few training samples, for as many steps as the trainer asks for (`samples_to_draw`).

    Args:
        data: Data module with `train_data`.
        seed: Seed of the order.

    Returns:
        The loader of this process.
    """
    num_shots = len(data.train_data)
    trainer = data.trainer
    num_samples = samples_to_draw(trainer, num_shots, data.train_batch_size)
    rank, processes = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
    return ShotLoader(
        dataset=data.train_data,
        sampler=KShotSampler(num_shots, num_samples, seed, rank, processes),
        batch_size=data.train_batch_size,
        num_workers=data.num_workers,
        collate_fn=data.external_collate_fn or data.train_data.collate_fn,
    )


def _where(candidates: Sequence[str]) -> str:
    return str(Path(candidates[0]).parent) if candidates else "the training folder"
