# SPDX-License-Identifier: Apache-2.0
"""PointNet++ (arXiv 1706.02413): features of every point, and of the whole cloud."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn

from anomalib_clip3dad.errors import InputError, MissingFileError
from anomalib_clip3dad.geometry.sampling import ball_neighbours, farthest_points, interpolate, pick
from anomalib_clip3dad.weights import load_safely

_ENCODER = (  # centres, radius in the unit sphere, widths; the published single-scale segmentation network
    (1024, 0.1, (32, 32, 64)),
    (256, 0.2, (64, 64, 128)),
    (64, 0.4, (128, 128, 256)),
    (16, 0.8, (256, 256, 512)),
)
_DECODER = ((768, (256, 256)), (384, (256, 256)), (320, (256, 128)), (128, (128, 128, 128)))  # from coarse to fine
_NEIGHBOURS = 32
_CHANNELS = 9  # xyz three times, as the published weights read xyz, colour and place in a room
_GOLDEN, _PRIME = 618_033, 1_000_003  # multiples of the first modulo the second spread evenly and repeat late
_STEP = 1024  # steps of a coordinate per radius: squares of differences are exact in float32, in every runtime

POINT_WIDTH = 128
CLOUD_WIDTH = 512


class PointFeatures(NamedTuple):
    """Features of B clouds.

    Attributes:
        points: F_p, `(B, N, 128)`.
        cloud: F_e, `(B, 512)`.
    """

    points: Tensor
    cloud: Tensor


def sample_points(xyz: Tensor, foreground: Tensor, count: int) -> Tensor:
    """Choose points of each part, the same ones each time, and scale them to the unit sphere.

    GS-CLIP draws 3000 points at random each time, also at test; here the same cloud gives the same points. Coordinates
    are rounded to 1/1024 of the radius, so that every runtime chooses the same centres.

    Args:
        xyz: `(B, 3, H, W)`, any unit.
        foreground: `(B, H, W)` bool, the part.
        count: N, number of points; points are repeated where there are fewer.

    Returns:
        `(B, N, 3)`, centred, the largest radius 1; the first 1024 in the order of `farthest_points`, or the first 256
        of 1024 points. Zeros without a part.
    """
    points, inside = rearrange(xyz, "b c h w -> b (h w) c"), rearrange(foreground, "b h w -> b (h w)")
    place = torch.arange(points.shape[1], device=xyz.device)
    order = ((place * _GOLDEN) % _PRIME).where(inside, _PRIME)
    first = order.topk(min(count, points.shape[1]), dim=1, largest=False).indices
    there = inside.sum(dim=1, keepdim=True).clamp(min=1, max=first.shape[1])
    chosen = pick(points, first.gather(1, torch.arange(count, device=xyz.device) % there))
    chosen = chosen.where(inside.any(dim=1)[:, None, None], 0.0)
    centred = chosen - _rounded(chosen.mean(dim=1, keepdim=True), 13)
    radius = _rounded(centred.square().sum(dim=2).amax(dim=1).sqrt(), 16).clamp(min=2**-16)
    scaled = (centred / radius[:, None, None] * _STEP).round() / _STEP
    # centres of every stage are the first of these; where all points are those of the first stage, of the next ones
    return _spread_first(scaled, next((centres for centres, *_ in _ENCODER if centres < count), count))


def _rounded(values: Tensor, bits: int) -> Tensor:
    """Round to multiples of 2 to the minus `bits`: the last bits of sums differ between runtimes."""
    return (values * 2**bits).round() / 2**bits


def _spread_first(points: Tensor, count: int) -> Tensor:
    """Put the `count` points that cover the cloud best first; the order of the others stays."""
    centres = farthest_points(points, count)
    is_centre = torch.zeros_like(points[..., 0]).scatter(1, centres, 1.0) > 0
    place = torch.arange(points.shape[1], device=points.device)
    # a cloud with repeated points may have repeated centres, and then more others than fit
    others = place.where(~is_centre, points.shape[1]).topk(points.shape[1] - count, dim=1, largest=False).values
    return pick(points, torch.cat([centres, others], dim=1))


class SetAbstraction(nn.Module):
    """From N points to the features of M centres, each read from a ball of neighbours (section 3.2)."""

    def __init__(self, channels: int, radius: float, widths: Sequence[int]) -> None:
        super().__init__()
        self.radius = radius
        steps = zip((channels + 3, *widths), widths, strict=False)
        self.mlp_convs = nn.ModuleList(nn.Conv2d(wide, out, 1) for wide, out in steps)
        self.mlp_bns = nn.ModuleList(nn.BatchNorm2d(width) for width in widths)

    def forward(self, points: Tensor, features: Tensor, count: int) -> Tensor:
        """Read balls around the first `count` points; (B, N, 3) and (B, N, C) become (B, count, C')."""
        centres = points[:, :count]
        near = ball_neighbours(centres, points, self.radius, min(_NEIGHBOURS, points.shape[1]))
        around = torch.cat([pick(points, near) - centres[:, :, None], pick(features, near)], dim=-1)
        values = rearrange(around, "b m k c -> b c k m")
        for convolution, norm in zip(self.mlp_convs, self.mlp_bns, strict=True):
            values = norm(convolution(values)).relu()
        return rearrange(values.amax(dim=2), "b c m -> b m c")


class FeaturePropagation(nn.Module):
    """From the features of centres back to those of all points (section 3.4)."""

    def __init__(self, channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        steps = zip((channels, *widths), widths, strict=False)
        self.mlp_convs = nn.ModuleList(nn.Conv1d(wide, out, 1) for wide, out in steps)
        self.mlp_bns = nn.ModuleList(nn.BatchNorm1d(width) for width in widths)

    def forward(self, points: Tensor, centres: Tensor, own: Tensor | None, features: Tensor) -> Tensor:
        """Interpolate (B, M, C) at (B, N, 3) and join it with the points' own features, to (B, N, C')."""
        spread = interpolate(features, centres, points)
        joined = spread if own is None else torch.cat([own, spread], dim=2)
        values = rearrange(joined, "b n c -> b c n")
        for convolution, norm in zip(self.mlp_convs, self.mlp_bns, strict=True):
            values = norm(convolution(values)).relu()
        return rearrange(values, "b c n -> b n c")


class PointNet2(nn.Module):
    """PointNet++ for segmentation, single scale, without the layer of classes.

    Modules are named as in the weights published with the PyTorch version for S3DIS, which GS-CLIP starts from.

    Args:
        weights: Path of those weights (best_model.pth); None starts at random.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read safely, or holds other weights.
    """

    def __init__(self, weights: str | Path | None = None) -> None:
        super().__init__()
        channels = _CHANNELS
        for number, (_, radius, widths) in enumerate(_ENCODER, start=1):
            self.add_module(f"sa{number}", SetAbstraction(channels, radius, widths))
            channels = widths[-1]
        for number, (joined, narrowing) in zip((4, 3, 2, 1), _DECODER, strict=True):
            self.add_module(f"fp{number}", FeaturePropagation(joined, narrowing))
        self.conv1 = nn.Conv1d(POINT_WIDTH, POINT_WIDTH, 1)
        self.bn1 = nn.BatchNorm1d(POINT_WIDTH)
        self.drop1 = nn.Dropout(0.5)
        if weights is not None:
            self._load(Path(weights))

    def _load(self, file: Path) -> None:
        if not file.is_file():
            msg = f"point_net_weights={file}: no such file; correct the path"
            raise MissingFileError(msg)
        content = load_safely(file, "point_net_weights")
        state = content.get("model_state_dict", content)
        own = self.state_dict()
        if wrong := [name for name in own if name not in state or state[name].shape != own[name].shape]:
            msg = f"point_net_weights={file}: {wrong[0]} is not in it, or of another shape; give the weights of "
            msg += "PointNet++ (SSG, semantic segmentation, nine channels)"
            raise InputError(msg)
        self.load_state_dict({name: state[name] for name in own})

    def forward(self, points: Tensor) -> PointFeatures:
        """Compute the features of clouds.

        Args:
            points: `(B, N, 3)`, result of `sample_points`.

        Returns:
            The features.
        """
        levels, features = [points], [points.repeat(1, 1, _CHANNELS // 3)]
        for number, (count, _, _) in enumerate(_ENCODER, start=1):
            fewer = min(count, points.shape[1])
            features.append(self.get_submodule(f"sa{number}")(levels[-1], features[-1], fewer))
            levels.append(points[:, :fewer])
        found = features[-1]
        for number in (4, 3, 2, 1):
            own = features[number - 1] if number > 1 else None
            found = self.get_submodule(f"fp{number}")(levels[number - 1], levels[number], own, found)
        head = self.bn1(self.conv1(rearrange(found, "b n c -> b c n"))).relu()
        return PointFeatures(rearrange(self.drop1(head), "b c n -> b n c"), features[-1].amax(dim=1))
