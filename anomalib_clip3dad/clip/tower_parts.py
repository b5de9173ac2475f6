# SPDX-License-Identifier: Apache-2.0
"""The parts of a vision transformer, whether open_clip's own or one of timm."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import get_ident
from typing import Any

from einops import rearrange
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional

from anomalib_clip3dad.errors import InputError


class _OpenClipParts:
    """Access to the parts of open_clip's own vision transformer that a tower needs."""

    prefix = 1  # tokens before the patches: [CLS]

    def __init__(self, visual: Any) -> None:
        self.visual = visual
        self.blocks, self.final_norm = visual.transformer.resblocks, visual.ln_post
        # in the blocks of open_clip up to 2.26.0 the token axis comes first, later the batch axis (open_clip #910)
        self.batch_first = getattr(visual.transformer, "batch_first", False)

    @property
    def projection(self) -> Tensor:
        return self.visual.proj

    @property
    def grid_size(self) -> tuple[int, int]:
        return self.visual.grid_size

    def batched(self, tokens: Tensor) -> Tensor:
        """Put the batch axis of a block's tokens first."""
        return tokens if self.batch_first else rearrange(tokens, "t n d -> n t d")

    def attend_to_values(self, block: Any, hidden: Tensor) -> Tensor:
        """See `TowerParts`."""
        attention, tokens = block.attn, block.ln_1(self.batched(hidden))
        last = slice(-tokens.shape[-1], None)  # of query, key and value
        bias = None if attention.in_proj_bias is None else attention.in_proj_bias[last]
        values = functional.linear(tokens, attention.in_proj_weight[last], bias)
        return block.ls_1(attention.out_proj(_value_attention(values, attention.num_heads)))

    @staticmethod
    def mlp(block: Any) -> tuple[nn.Linear, nn.Linear]:
        """See `TowerParts`."""
        return block.mlp.c_fc, block.mlp.c_proj


class _TimmParts:
    """Access to the same parts of a timm vision transformer inside open_clip's `TimmModel`."""

    def __init__(self, visual: Any) -> None:
        self.visual = visual
        self.blocks, self.final_norm = visual.trunk.blocks, visual.trunk.norm
        self.prefix = visual.trunk.num_prefix_tokens

    @property
    def projection(self) -> Tensor:
        return self.visual.head.proj.weight.T

    @property
    def grid_size(self) -> tuple[int, int]:
        return self.visual.trunk.patch_embed.grid_size

    @staticmethod
    def batched(tokens: Tensor) -> Tensor:
        """Put the batch axis of a block's tokens first, where it is."""
        return tokens

    @staticmethod
    def attend_to_values(block: Any, hidden: Tensor) -> Tensor:
        """See `TowerParts`."""
        attention, tokens = block.attn, block.norm1(hidden)
        values = attention.qkv(tokens)[..., -attention.attn_dim :]
        return block.ls1(attention.proj(attention.norm(_value_attention(values, attention.num_heads))))

    @staticmethod
    def mlp(block: Any) -> tuple[nn.Linear, nn.Linear]:
        """See `TowerParts`."""
        return block.mlp.fc1, block.mlp.fc2


TowerParts = _OpenClipParts | _TimmParts
"""Either kind. `attend_to_values` is what V-V attention of a block adds to its input, (N, T, D): the values attend to
each other (AnomalyCLIP's DPAM); `mlp` are the two linear layers of a block."""


def _value_attention(values: Tensor, heads: int) -> Tensor:
    """Attention whose queries, keys and values are all the values, (N, T, D)."""
    values = rearrange(values, "n t (h d) -> n h t d", h=heads)
    return rearrange(functional.scaled_dot_product_attention(values, values, values), "n h t d -> n t (h d)")


def find_parts(visual: Any) -> TowerParts:
    """Find the parts of a vision tower.

    Args:
        visual: The `visual` of an open_clip model.

    Returns:
        Its parts.

    Raises:
        ValueError: If it is no vision transformer with a [CLS] token and a linear projection.
    """
    trunk = getattr(visual, "trunk", None)
    if isinstance(trunk, VisionTransformer) and trunk.global_pool == "token" and hasattr(visual.head, "proj"):
        return _TimmParts(visual)
    plain = getattr(getattr(visual, "transformer", None), "resblocks", None) is not None
    if plain and getattr(visual, "proj", None) is not None and getattr(visual, "attn_pool", None) is None:
        return _OpenClipParts(visual)
    kind = type(visual if trunk is None else trunk).__name__
    msg = "clip_model: a vision transformer with a [CLS] token and a linear projection is needed, as in "
    msg += f"ViT-B-16-plus-240; this one has a {kind}"
    raise InputError(msg)


@contextmanager
def hooked(hooks: Sequence[tuple[nn.Module, Callable[[Tensor, Tensor], Tensor | None]]]) -> Iterator[None]:
    """Call functions after modules ran in this thread; other threads that use the modules meanwhile are not affected.

    Args:
        hooks: Modules, each with a function of its first input and its output; a tensor that it returns replaces the
            output.
    """
    thread = get_ident()

    def only_here(function: Callable[[Tensor, Tensor], Tensor | None]) -> Any:
        def hook(_module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
            return function(inputs[0], output) if get_ident() == thread else None

        return hook

    handles = [module.register_forward_hook(only_here(function)) for module, function in hooks]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
