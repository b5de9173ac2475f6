# SPDX-License-Identifier: Apache-2.0
"""A vision transformer on real ImageNet features: a frozen EfficientNet-Lite0 in place of the patch embedding."""

from typing import Any

import timm
import torch
from einops import rearrange
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from anomalib_clip3dad import efficientnet

STRIDE = 16  # side of a token in pixels


class ImageNetStem(nn.Module):
    """EfficientNet-Lite0 up to stride 16, frozen, with its maps at strides 4, 8 and 16 side by side.

    Like every open_clip model it takes images normalised with CLIP's mean and standard deviation. Its weights are
    constants, neither in the state dict nor among the parameters, and are read from their package on construction.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self) -> None:
        super().__init__()
        network: Any = timm.create_model(efficientnet.BACKBONE, features_only=True, out_indices=(1, 2, 3))
        weights = efficientnet.imagenet_weights()
        network.load_state_dict({name: weights[name] for name in network.state_dict()})
        last = int(network.feature_info.module_name()[-1].removeprefix("blocks."))
        del network.blocks[last + 1 :]  # timm would compute them, too
        _fold_batch_norms(network.eval())
        make_constant(network)
        # channels last: twice as fast on CPUs
        self.network = network.to(memory_format=torch.channels_last)
        strides = zip(network.feature_info.reduction(), network.feature_info.channels(), strict=True)
        self.folds = [STRIDE // stride for stride in network.feature_info.reduction()]
        self.width = sum(channels * (STRIDE // stride) ** 2 for stride, channels in strides)
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (OPENAI_DATASET_MEAN, OPENAI_DATASET_STD))
        self.register_buffer("scale", std / efficientnet.STD, persistent=False)
        self.register_buffer("shift", (mean - efficientnet.MEAN) / efficientnet.STD, persistent=False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Read images.

        Args:
            images: (N, 3, H, W) RGB, normalised with CLIP's mean and standard deviation; H and W multiples of 16.

        Returns:
            (N, 656, H / 16, W / 16): all cells of the finer maps that belong to a token are stacked as its channels.
        """
        maps = self.network(images * self.scale + self.shift)
        folded = [
            rearrange(each, "n c (h p) (w q) -> n (c p q) h w", p=fold, q=fold)
            for each, fold in zip(maps, self.folds, strict=True)
        ]
        return torch.cat(folded, dim=1)


class StemEmbed(nn.Module):
    """A patch embedding for timm that uses the stem's features instead of pixels.

    Args:
        img_size: Height and width of the images.
        patch_size: Side of a token in pixels; must be the stem's 16.
        in_chans: Channels of the images; must be 3.
        embed_dim: Width of the tokens.
        **_: Other arguments of timm's own patch embedding; ignored.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, img_size: int = 240, patch_size: int = 16, in_chans: int = 3, embed_dim: int = 192, **_: Any
    ) -> None:
        super().__init__()
        if (patch_size, in_chans) != (STRIDE, 3):
            msg = f"patch_size={patch_size}, in_chans={in_chans}: the stem reads RGB at stride {STRIDE}"
            raise ValueError(msg)
        self.patch_size = (STRIDE, STRIDE)
        self.stem = ImageNetStem()
        # each channel's mean and standard deviation on training images
        self.register_buffer("mean", torch.zeros(self.stem.width))
        self.register_buffer("std", torch.ones(self.stem.width))
        self.proj = nn.Linear(self.stem.width, embed_dim)
        self.set_input_size(img_size)

    def set_input_size(self, img_size: Any = None, patch_size: Any = None) -> None:  # noqa: ARG002
        """Change the input size.

        Args:
            img_size: One number, or height and width; multiples of 16.
            patch_size: Not used; timm passes it.
        """
        if img_size is not None:
            self.img_size = tuple(img_size) if isinstance(img_size, (tuple, list)) else (img_size, img_size)
            self.grid_size = (self.img_size[0] // STRIDE, self.img_size[1] // STRIDE)
            self.num_patches = self.grid_size[0] * self.grid_size[1]

    def project(self, features: Tensor) -> Tensor:
        """Convert the stem's features to tokens.

        Args:
            features: (N, 656, h, w), output of the stem.

        Returns:
            (N, h w, D), row by row.
        """
        features = rearrange(features, "n c h w -> n (h w) c")
        return self.proj((features - self.mean) / self.std)

    def forward(self, images: Tensor) -> Tensor:
        """Convert normalised images (N, 3, H, W) to tokens (N, h w, D)."""
        return self.project(self.stem(images))


@timm.models.register_model
def vit_tiny_lite0_patch16_240(pretrained: bool = False, **kwargs: Any) -> VisionTransformer:
    """The vision tower of the small CLIP: four blocks, 192 wide, on EfficientNet-Lite0.

    Args:
        pretrained: Must be false; timm passes it, but it knows no weights of this network.
        **kwargs: Further arguments of timm's `VisionTransformer`.

    Returns:
        The network; the stem has ImageNet weights, the rest is random.
    """
    if pretrained:
        msg = "vit_tiny_lite0_patch16_240 has no weights of its own; load_clip(..., 'small') reads those of the package"
        raise ValueError(msg)
    known = {"pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"}
    arguments: dict[str, Any] = {"img_size": 240, "patch_size": STRIDE}
    arguments |= {"embed_dim": 192, "depth": 4, "num_heads": 3, "mlp_ratio": 2.0}
    arguments |= {name: value for name, value in kwargs.items() if name not in known}
    network: Any = VisionTransformer(embed_layer=StemEmbed, **arguments)
    network.default_cfg = network.pretrained_cfg = {"input_size": (3, 240, 240), "pool_size": None}
    return network


def make_constant(network: nn.Module) -> None:
    """Turn all parameters and buffers of a network into buffers that are not in the state dict.

    Args:
        network: Network to change in place.
    """
    for module in network.modules():
        for name, value in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
            delattr(module, name)
            module.register_buffer(name, value.detach(), persistent=False)


def _fold_batch_norms(network: nn.Module) -> None:
    """Fold each of timm's batch norms into the convolution before it; the activation stays."""
    for module in network.modules():
        convolution: Any = None
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d) and convolution is not None:
                fused = fuse_conv_bn_eval(convolution, child)
                convolution.weight, convolution.bias = fused.weight, fused.bias
                setattr(module, name, getattr(child, "act", nn.Identity()))
            convolution = child if isinstance(child, nn.Conv2d) else None
