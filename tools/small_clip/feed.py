# SPDX-License-Identifier: Apache-2.0
"""Training data: twins and their features from the frozen stem, made in another process during training."""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from small_clip.captions import Captions
from small_clip.fields import Dice
from small_clip.pairs import Pairs, make_pairs

RADII = (0.21, 0.48)  # radius of a part, as a share of the side of a full image
CROPPED_RADII = (0.40, 0.85)  # the same in a crop
SEED_STRIDE = 1 << 24  # seeds of CPU generators have 32 bits: enough for 128 runs of 8 million steps


class Plan(NamedTuple):
    """Settings of a run.

    Attributes:
        seed: Seed of the run, 0 to 127.
        steps: Total number of steps.
        per_step: Number of twins in a step.
        repeats: Number of steps on the same twins, flipped and rotated.
        whole: Side of full images in pixels.
        crop: Side of crops in pixels.
        cropped: Number of first steps on crops; the others use full images.
        ease: Ease of the first step, see `make_pairs`; it decreases to 0.
    """

    seed: int
    steps: int
    per_step: int
    repeats: int
    whole: int
    crop: int
    cropped: int
    ease: float


class Seen(NamedTuple):
    """The twins of a step, as input of the transformer.

    Attributes:
        features: (2, n, 656, h, w), features from the stem: normal, anomalous.
        masks: (n, S, S) bool, where the defects are.
        captions: (2, n, length), tokens of the captions.
        sure: (n,) bool, true = the defect is visible.
        corner: Row and column of the first token in the model's grid.
    """

    features: Tensor
    masks: Tensor
    captions: Tensor
    sure: Tensor
    corner: tuple[int, int]


class Twins(Dataset[Seen]):
    """The twins of each step, the same in every process.

    Args:
        plan: Settings of the run.
        embed: timm's patch embedding with the stem.
        captions: Writer of captions.
        normalise: Mean and standard deviation, (3, 1, 1) each, for normalising images before the stem.
    """

    def __init__(self, plan: Plan, embed: Any, captions: Captions, normalise: tuple[Tensor, Tensor]) -> None:
        self.plan, self.stem, self.captions, self.normalise = plan, embed.stem, captions, normalise
        self._made: tuple[int, Pairs] | None = None

    def __len__(self) -> int:
        return self.plan.steps

    def draw(self, seed: int, count: int, crop: bool, ease: float = 0.0) -> Pairs:
        """Make the twins of one seed, as full images or crops."""
        size, radii = (self.plan.crop, CROPPED_RADII) if crop else (self.plan.whole, RADII)
        dice = Dice(seed, self.normalise[0].device)
        with torch.no_grad():
            return make_pairs(dice, self.captions, count, size, (radii[0] * size, radii[1] * size), ease)

    def read(self, images: Tensor) -> Tensor:
        """Compute the stem's features (2, n, 656, h, w) of (2, n, 3, S, S) images."""
        mean, std = self.normalise
        return self.stem(((images - mean) / std).flatten(0, 1)).unflatten(0, images.shape[:2])

    def __getitem__(self, step: int) -> Seen:
        plan = self.plan
        crop, made = step < plan.cropped, step - step % plan.repeats
        if made < plan.cropped <= step:
            made = plan.cropped
        if self._made is None or self._made[0] != made:
            ease = plan.ease * (1 - made / plan.steps)
            self._made = made, self.draw(plan.seed * SEED_STRIDE + 2 * made, plan.per_step, crop, ease)
        pairs = self._made[1]
        dice = torch.Generator().manual_seed(plan.seed * SEED_STRIDE + 2 * step + 1)
        quarter, mirror, row, column = torch.randint(1 << 20, (4,), generator=dice).tolist()
        images, masks = (_turned(field, quarter, mirror) for field in (pairs.images, pairs.masks))
        features = self.read(images)
        room = plan.whole // 16 - features.shape[-1] + 1
        return Seen(features, masks, pairs.captions, pairs.sure, (row % room, column % room))


def feed(twins: Twins, first: int, workers: int) -> DataLoader[Seen]:
    """Load the steps from `first` on, made in other processes if there are workers."""
    steps, ahead = range(first, len(twins)), 4 if workers else None
    return DataLoader(twins, batch_size=None, sampler=steps, num_workers=workers, prefetch_factor=ahead)


def _turned(field: Tensor, quarter: int, mirror: int) -> Tensor:
    field = field.rot90(quarter % 4, (-2, -1))
    return field.flip(-1) if mirror % 2 else field
