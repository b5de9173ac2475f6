# SPDX-License-Identifier: Apache-2.0
"""Captions as tensors: phrases from tables of tokens, joined for a whole batch at once."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from small_clip.defects import KINDS
from small_clip.fields import Dice

# Our own phrases; the states also cover those of WinCLIP's compositional prompt ensemble.
_NORMAL = (
    "{}", "{}", "flawless {}", "perfect {}", "unblemished {}", "intact {}", "normal {}", "good {}", "undamaged {}",
    "{} without flaw", "{} without defect", "{} without damage", "{} in good condition",
)  # fmt: skip
_ANOMALOUS = (
    "damaged {}", "damaged {}", "{} with flaw", "{} with defect", "{} with damage", "abnormal {}", "defective {}",
    "faulty {}", "{} with a defect", "{} with a flaw", "{} in bad condition", "anomalous {}",
)  # fmt: skip
_PHOTOS = (
    "a photo of a", "a photo of the", "a photo of one", "a photo of my", "a cropped photo of the", "a picture of a",
    "a bright photo of the", "a dark photo of a", "a blurry photo of the", "a low resolution photo of a",
    "a close-up photo of the", "a jpeg corrupted photo of a", "a good photo of the", "a black photo of a",
    "there is a", "this is the", "a", "the", "an image of the", "a photo of the small", "a photo of a large",
)  # fmt: skip
_VIEWS = (
    "a rendering of a", "a rendering of the", "a point cloud of the", "a turned view of a", "a 3d scan of the",
    "a photo of a", "a photo of the", "a cropped photo of the", "a view on white of the", "a", "the", "a picture of a",
)  # fmt: skip
_TAILS = ("", "", "", "", ".", "for visual inspection", "for anomaly detection", "on a table", "in the scene")
_GENERIC = ("object", "part", "component", "item", "thing", "product", "workpiece", "specimen")
_INVENTED = 2000  # names of one to three random tokens: an unknown name must not affect the state

Encode = Callable[[str], list[int]]


def _table(phrases: Sequence[Sequence[int]], device: torch.device) -> Tensor:
    """Phrases as tokens: (count, longest), 0 = nothing."""
    longest = max(map(len, phrases))
    return torch.tensor([[*p, *[0] * (longest - len(p))] for p in phrases], device=device)


class Captions:
    """Writer of captions.

    Args:
        encode: Function of the tokenizer from text to tokens, without start and end tokens.
        start: Token that starts a text.
        end: Token that ends a text; open_clip finds it as the largest.
        length: Context length of the model.
        names: Names of the shapes, one tuple per shape.
        materials: Names of the materials, one tuple per material.
        colours: Names of the colours.
        device: Device of the captions.
    """

    def __init__(
        self,
        encode: Encode,
        start: int,
        end: int,
        length: int,
        names: Sequence[Sequence[str]],
        materials: Sequence[Sequence[str]],
        colours: Sequence[str],
        device: torch.device | str = "cpu",
    ) -> None:
        self.start, self.end, self.length = start, end, length
        device = torch.device(device)

        def table(phrases: Sequence[str]) -> Tensor:
            return _table([encode(phrase) for phrase in phrases], device)

        def choices(groups: Sequence[Sequence[str]]) -> tuple[Tensor, Tensor, Tensor]:
            """All phrases, and the start and length of each group."""
            sizes = torch.tensor([len(group) for group in groups], device=device)
            return table([phrase for group in groups for phrase in group]), sizes.cumsum(0) - sizes, sizes

        self._names, self._materials = choices(names), choices(materials)
        self._colours, self._generic = table(colours), table(_GENERIC)
        self._photos, self._views, self._tails = table(_PHOTOS), table(_VIEWS), table(_TAILS)
        states = [_NORMAL, _ANOMALOUS, *(kind.states for kind in KINDS.values())]
        before = [[state.split("{}")[0] for state in group] for group in states]
        after = [[state.split("{}")[1] for state in group] for group in states]
        self._before, self._after = choices(before), choices(after)
        invented = torch.Generator().manual_seed(0)
        # tokens from 512 on are parts of words, those before are single characters
        made_up = torch.randint(512, start, (_INVENTED, 3), generator=invented)
        made_up *= torch.arange(3) < torch.randint(1, 4, (_INVENTED, 1), generator=invented)
        self._invented = made_up.to(device)

    def write(self, dice: Dice, shape: Tensor, material: Tensor, colour: Tensor, view: Tensor, kind: Tensor) -> Tensor:
        """Describe n pairs of twins; the two captions of a pair differ only in the state.

        Args:
            dice: Source of random numbers.
            shape: (n,), index of the shape.
            material: (n,), index of the material.
            colour: (n,), index of the colour.
            view: (n,) bool, true = view of a rotated point cloud.
            kind: (n,), index of the defect.

        Returns:
            (2, n, length), tokens: normal, anomalous.
        """
        count = len(shape)
        photos = self._photos[dice.below(len(self._photos), count)]
        views = self._views[dice.below(len(self._views), count)]
        head = _either(view, views, photos)
        colours = self._colours[colour] * dice.chance(0.5, count, 1)
        materials = _one_of(dice, self._materials, material) * dice.chance(0.5, count, 1)
        tail = self._tails[dice.below(len(self._tails), count)]
        name = self._name(dice, shape)
        normal = torch.zeros_like(kind)
        special = torch.where(dice.chance(0.5, count), kind + 2, 1)
        both = []
        for group in (normal, special):
            table, starts, sizes = self._before
            state = starts[group] + (dice.uniform(count) * sizes[group]).long()
            parts = [head, table[state], colours, materials, name, self._after[0][state], tail]
            both.append(self._join(parts))
        return torch.stack(both)

    def _name(self, dice: Dice, shape: Tensor) -> Tensor:
        count = len(shape)
        own = _one_of(dice, self._names, shape)
        generic = self._generic[dice.below(len(_GENERIC), count)]
        invented = self._invented[dice.below(_INVENTED, count)]
        which = dice.uniform(count)
        return _either(which < 0.5, own, _either(which < 0.7, generic, invented))

    def _join(self, parts: Sequence[Tensor]) -> Tensor:
        """Remove gaps between phrases, add start and end tokens, cut to length."""
        words = torch.cat(list(parts), dim=1)
        words = words.gather(1, (words == 0).to(torch.uint8).argsort(dim=1, stable=True))[:, : self.length - 2]
        words = torch.nn.functional.pad(words, (1, self.length - 1 - words.shape[1]))
        words[:, 0] = self.start
        return words.scatter(1, (words > 0).sum(1, keepdim=True), self.end)


def _one_of(dice: Dice, choices: tuple[Tensor, Tensor, Tensor], group: Tensor) -> Tensor:
    table, starts, sizes = choices
    return table[starts[group] + (dice.uniform(len(group)) * sizes[group]).long()]


def _either(first: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """Rows of `one` where `first`, else of `other`; the narrower table is padded with zeros."""
    width = max(one.shape[1], other.shape[1])
    one, other = (torch.nn.functional.pad(side, (0, width - side.shape[1])) for side in (one, other))
    return torch.where(first[:, None], one, other)
