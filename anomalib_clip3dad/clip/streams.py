# SPDX-License-Identifier: Apache-2.0
"""Streams through a frozen vision tower: V-V attention beside it, and low-rank additions to its MLPs."""

from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from anomalib_clip3dad.errors import InputError

from .tower_parts import hooked
from .vision import VisionTower


class Stream(NamedTuple):
    """Image and patches in the space shared with texts.

    Attributes:
        cls: (N, C), CLIP's image embedding, of any length.
        patches: (N, N_p, C), the patches row by row, of any length.
    """

    cls: Tensor
    patches: Tensor


class LowRank(nn.Module):
    """Low-rank additions to both linear layers of every MLP of a tower (LoRA).

    GS-CLIP, section "depth stream": x' = W x + gamma B A x. Shares the frozen weights; an addition starts at 0.

    Args:
        tower: The frozen tower.
        rank: Rank of an addition; 8 in GS-CLIP's code.
        scale: gamma; 2 (alpha 16 over rank 8) there.
        dropout: Share of the inputs of A that are dropped in training; 0.1 there.
    """

    def __init__(self, tower: VisionTower, rank: int = 8, scale: float = 2.0, dropout: float = 0.1) -> None:
        super().__init__()
        self._layers = ([layer for block in tower.parts.blocks for layer in tower.parts.mlp(block)],)
        self.down = nn.ModuleList(nn.Linear(layer.in_features, rank, bias=False) for layer in self._layers[0])
        self.up = nn.ModuleList(nn.Linear(rank, layer.out_features, bias=False) for layer in self._layers[0])
        for each in self.up:
            nn.init.zeros_(each.weight)  # type: ignore[arg-type]
        self.dropout = nn.Dropout(dropout)
        self.scale = scale

    def hooks(self) -> list[tuple[nn.Module, Any]]:
        """The additions as hooks, see `hooked`."""

        def adding(down: nn.Module, up: nn.Module) -> Any:
            return lambda given, output: output + self.scale * up(down(self.dropout(given)))

        return [(layer, adding(*pair)) for layer, *pair in zip(self._layers[0], self.down, self.up, strict=True)]


def check_first_block(tower: VisionTower, first: int | None) -> None:
    """Raise if V-V attention cannot start at a block.

    Args:
        tower: The tower.
        first: Number of the block, see `read_stream`.

    Raises:
        ValueError: If there is no such block.
    """
    blocks = len(tower.parts.blocks)
    if first is not None and not 1 <= first <= blocks:
        msg = f"vv_from={first}: the blocks of this CLIP count from 1 to {blocks}; give one of them, or null for "
        msg += "CLIP's own patch tokens"
        raise InputError(msg)


def read_stream(
    tower: VisionTower, images: Tensor, vv_from: int | None = None, low_rank: LowRank | None = None
) -> Stream:
    """Run images through a tower.

    GS-CLIP, section 3 (AnomalyCLIP's DPAM): from a block on, a second stream u runs beside CLIP's own h. It starts as h
    and adds what the values of h attend to among themselves, without an MLP; patches come from u, the image's embedding
    from h, which stays CLIP's own.

    Args:
        tower: The frozen tower.
        images: (N, 3, S, S) RGB in [0, 1].
        vv_from: First block of the V-V stream, counted from 1; None: the patches come from h, too.
        low_rank: Additions to the MLPs, which get gradients; None: nothing gets gradients. Gradients of large towers
            are computed a few images at a time, after these were read once more: what all blocks keep for all images
            would take more than 15 GiB for nine views in ViT-L/14@336.

    Returns:
        The embeddings.
    """
    learns = low_rank is not None and torch.is_grad_enabled()
    with torch.set_grad_enabled(learns):
        step = tower.images_per_pass // len(tower.parts.blocks) if learns else tower.images_per_pass
        # a graph cannot have a number of passes that depends on its input
        if torch.compiler.is_compiling() or images.shape[0] <= step:
            return _read(tower, images, vv_from, low_rank)
        read = partial(checkpoint, _read, use_reentrant=False) if learns else _read
        passes = [read(tower, part, vv_from, low_rank) for part in images.split(max(step, 1))]
        return Stream(*(torch.cat(field) for field in zip(*passes, strict=True)))


def _read(tower: VisionTower, images: Tensor, vv_from: int | None, low_rank: LowRank | None) -> Stream:
    parts = tower.parts
    last: list[Tensor] = []  # the stream of the patches after the blocks so far

    def along(number: int, block: nn.Module) -> Any:
        def hook(given: Tensor, output: Tensor) -> None:
            if vv_from is None:
                last[:] = [parts.batched(output)]
            else:
                before = parts.batched(given) if number == vv_from else last[0]
                last[:] = [before + parts.attend_to_values(block, given)]

        return hook

    blocks = parts.blocks
    numbers = [len(blocks)] if vv_from is None else range(vv_from, len(blocks) + 1)
    hooks = [(blocks[number - 1], along(number, blocks[number - 1])) for number in numbers]
    with hooked([*hooks, *(low_rank.hooks() if low_rank else [])]):
        cls = tower.visual(tower.normalised(images))
    patches = tower.final_norm(last[0][:, parts.prefix :]) @ tower.projection
    return Stream(cls, patches)


def normalised(stream: Stream) -> Stream:
    """Scale all embeddings to unit length."""
    return Stream(*(functional.normalize(field, dim=-1) for field in stream))
