# SPDX-License-Identifier: Apache-2.0
"""What each step of the training sees: twins read by the frozen stem, made beside the training in another process."""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from small_clip.captions import Captions
from small_clip.fields import Dice
from small_clip.pairs import Pairs, make_pairs

RADII = (0.21, 0.48)  # of a part, as share of a whole image's side
CROPPED_RADII = (0.40, 0.85)  # of a part in a crop
SEED_STRIDE = 1 << 24  # a CPU's generator reads 32 bits of a seed: room for 128 runs of 8 million steps


class Plan(NamedTuple):
    """How a run goes.

    Attributes:
        seed: of the run, 0 to 127.
        steps: in all.
        per_step: twins in a step.
        repeats: steps on the same twins, flipped and turned.
        whole: side of whole images in pixels.
        crop: side of the crops in pixels.
        cropped: so many steps see crops, the rest whole images.
        ease: of the first step, see `make_pairs`; it falls to 0.
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
    """A step's twins as the transformer gets them.

    Attributes:
        features: (2, n, 656, h, w), the stem's: flawless, faulty.
        masks: (n, S, S) bool.
        captions: (2, n, length) tokens.
        sure: (n,) bool, the defect can be seen.
        corner: row and column of the model's grid where the first token lies.
    """

    features: Tensor
    masks: Tensor
    captions: Tensor
    sure: Tensor
    corner: tuple[int, int]


class Twins(Dataset[Seen]):
    """The twins of step i, the same ones whoever asks.

    Args:
        plan: of the run.
        embed: timm's patch embedding on the stem.
        captions: the writer.
        normalise: mean and standard deviation (3, 1, 1) that images are normalised with before the stem.
    """

    def __init__(self, plan: Plan, embed: Any, captions: Captions, normalise: tuple[Tensor, Tensor]) -> None:
        self.plan, self.stem, self.captions, self.normalise = plan, embed.stem, captions, normalise
        self._made: tuple[int, Pairs] | None = None

    def __len__(self) -> int:
        return self.plan.steps

    def draw(self, seed: int, count: int, crop: bool, ease: float = 0.0) -> Pairs:
        """Twins of one seed, whole images or crops."""
        size, radii = (self.plan.crop, CROPPED_RADII) if crop else (self.plan.whole, RADII)
        dice = Dice(seed, self.normalise[0].device)
        with torch.no_grad():
            return make_pairs(dice, self.captions, count, size, (radii[0] * size, radii[1] * size), ease)

    def read(self, images: Tensor) -> Tensor:
        """The stem's features (2, n, 656, h, w) of (2, n, 3, S, S) images."""
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
    """Steps from `first` on, made in another process meanwhile if there is one."""
    steps, ahead = range(first, len(twins)), 4 if workers else None
    return DataLoader(twins, batch_size=None, sampler=steps, num_workers=workers, prefetch_factor=ahead)


def _turned(field: Tensor, quarter: int, mirror: int) -> Tensor:
    field = field.rot90(quarter % 4, (-2, -1))
    return field.flip(-1) if mirror % 2 else field
