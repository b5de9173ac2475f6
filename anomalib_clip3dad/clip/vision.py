# SPDX-License-Identifier: Apache-2.0
"""The frozen vision tower: one pass gives the [CLS] embedding and the patch tokens of any blocks."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn

from anomalib_clip3dad.errors import InputError

from .tower_parts import TowerParts, find_parts, hooked

_MEMORY = 1 << 29  # bytes for the activations of one pass; more images take several passes
_COPIES = 16  # float32 copies of the tokens in a block: input, norm, q, k, v, attention, the MLP's 4 + 4, some more


class VisionFeatures(NamedTuple):
    """CLIP's features of N images."""

    cls: Tensor  # (N, C): [CLS] after ln_post and projection, not normalised, as `encode_image` gives it
    tokens: list[Tensor]  # (N, N_p, D) per requested block: patch tokens row by row, without [CLS]


class VisionTower(nn.Module):
    """CLIP's frozen vision tower, with the tokens of several blocks from one pass.

    CLIP3D-AD, section 3.3.3: I and F_l. The tower itself runs unchanged, so that [CLS] is open_clip's own; hooks
    collect the outputs of the blocks.

    Args:
        visual: The `visual` of an open_clip model, its own vision transformer or one of timm; it is frozen in place.
        layers: Blocks whose tokens are returned, counted from 1; None means half, three quarters and all of the depth
            (in the paper 6, 9, 12 of 12).
        with_last: Return the tokens of the last block as well, after the others.

    Raises:
        ValueError: If the tower is not a plain vision transformer, or has no such block.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, visual: nn.Module, layers: Sequence[int] | None = None, with_last: bool = False) -> None:
        super().__init__()
        # in a tuple, so that the tower's modules are not registered twice
        self._parts = (find_parts(visual),)
        blocks = self._parts[0].blocks
        layers = sorted({math.ceil(len(blocks) * k / 4) for k in (2, 3, 4)}) if layers is None else layers
        wrong = [layer for layer in layers if not 1 <= layer <= len(blocks)]
        if wrong or not layers:
            found = f"there is no block {', '.join(map(str, wrong))}" if wrong else "at least one block is needed"
            msg = f"layers: {found}; the blocks of this CLIP count from 1 to {len(blocks)}; give those, or null "
            msg += "(--model.layers null) for the ones at half, three quarters and all of the depth"
            raise InputError(msg)
        self.visual: Any = visual.requires_grad_(requires_grad=False).eval()
        self.layers = (*layers, len(blocks)) if with_last else tuple(layers)
        for name, default in (("image_mean", (0.0, 0.0, 0.0)), ("image_std", (1.0, 1.0, 1.0))):
            values = torch.tensor(getattr(visual, name, None) or default)
            self.register_buffer(name.removeprefix("image_"), rearrange(values, "c -> c 1 1"), persistent=False)

    @property
    def image_size(self) -> int:
        """Height and width of the images that the tower reads."""
        return self.visual.image_size[0]

    @property
    def grid_size(self) -> tuple[int, int]:
        """Rows and columns of patches, N_p = rows x columns."""
        return self._parts[0].grid_size

    @property
    def final_norm(self) -> nn.LayerNorm:
        """The norm after the last block, over D."""
        return self._parts[0].final_norm

    @property
    def projection(self) -> Tensor:
        """(D, C), projects a normalised token to the space shared with texts."""
        return self._parts[0].projection

    @property
    def width(self) -> int:
        """D, the width of a patch token."""
        return self.projection.shape[0]

    @property
    def embed_dim(self) -> int:
        """C, the width that images and texts share."""
        return self.projection.shape[1]

    def train(self, mode: bool = True) -> "VisionTower":  # noqa: ARG002
        """Stay in evaluation mode: the tower is frozen."""
        return super().train(mode=False)

    @property
    def parts(self) -> TowerParts:
        """Access to the blocks."""
        return self._parts[0]

    def normalised(self, images: Tensor) -> Tensor:
        """Apply CLIP's mean and standard deviation to RGB (N, 3, S, S) in [0, 1]."""
        return (images - self.mean) / self.std

    @property
    def images_per_pass(self) -> int:
        """Number of images per pass through the tower, so that memory does not grow with the batch."""
        tokens = 1 + self.grid_size[0] * self.grid_size[1]
        return max(_MEMORY // (4 * _COPIES * tokens * self.width), 1)

    @torch.no_grad()
    def forward(self, images: Tensor, num_deep: int | None = None) -> VisionFeatures:
        """Compute the features of images.

        Args:
            images: (N, 3, S, S) RGB in [0, 1], S = `image_size`; CLIP's mean and standard deviation are applied here.
            num_deep: Number of images, from the first, for which the tokens of all `layers` are returned; the others
                only get those of the last of `layers`. None: all images.

        Returns:
            [CLS] embeddings (N, C), and for each block of `layers` in that order patch tokens, (`num_deep`, N_p, D) for
            all blocks but the last and (N, N_p, D) for the last.

        Raises:
            ValueError: If the images have another size.
        """
        if images.ndim != 4 or tuple(images.shape[1:]) != (3, self.image_size, self.image_size):
            size = self.image_size
            msg = f"images: this CLIP reads (N, 3, {size}, {size}), got {tuple(images.shape)}; resize them first"
            raise InputError(msg)
        step = self.images_per_pass
        # the number of passes of an exported graph cannot depend on its input
        if torch.compiler.is_compiling() or len(images) <= step:
            return self._read(images, num_deep)
        num_deep = len(images) if num_deep is None else num_deep
        passes = [self._read(part, max(num_deep - i * step, 0)) for i, part in enumerate(images.split(step))]
        cls, tokens = zip(*passes, strict=True)
        return VisionFeatures(torch.cat(cls), [torch.cat(layer) for layer in zip(*tokens, strict=True)])

    def _read(self, images: Tensor, num_deep: int | None) -> VisionFeatures:
        """Compute the features of images (N, 3, S, S) in one pass."""
        taken: dict[int, Tensor] = {}
        parts = self.parts

        def take(layer: int) -> Any:
            return lambda _inputs, output: taken.__setitem__(layer, output)

        with hooked([(parts.blocks[layer - 1], take(layer)) for layer in set(self.layers)]):
            cls = self.visual(self.normalised(images))
        tokens = [parts.batched(taken[layer])[:, parts.prefix :] for layer in self.layers]
        if num_deep is not None and num_deep < images.shape[0]:
            # cloned, because a view would keep the tokens of all images in memory
            tokens = [*(layer[:num_deep].clone() for layer in tokens[:-1]), tokens[-1]]
        return VisionFeatures(cls, tokens)
