# SPDX-License-Identifier: Apache-2.0
"""The losses of both stages (GS-CLIP, sections 3.2 and 3.3), each a function of its own."""

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional

from anomalib_clip3dad.errors import InputError

LOSSES = ("views", "cloud", "points", "pixels", "consistency")
"""Names of the losses, as `GsClip` takes them."""

CONSISTENCY = 0.3
"""alpha, the weight of the consistency in the authors' code; all others weigh 1."""

_SMOOTH = 1.0  # of the Dice loss
_LEAST = 1e-5  # probability below which the focal loss does not tell apart
_FOCUS = 2


def check_losses(stage: int, names: Sequence[str]) -> None:
    """Raise if a stage cannot have these losses.

    Args:
        stage: 1 or 2.
        names: Some of `LOSSES`; the consistency in stage 2 only, since in stage 1 nothing that it sees is trained.

    Raises:
        ValueError: If a name is unknown or cannot be in this stage, or there is none.
    """
    known = LOSSES if stage == 2 else LOSSES[:-1]
    wrong = [name for name in names if name not in known]
    if wrong or not names:
        msg = f"stage{stage}_losses={list(names)}: give one or more of {', '.join(known)}"
        raise InputError(msg)


def view_loss(logits: Tensor, faulty: Tensor) -> Tensor:
    """L_2D,img: cross-entropy of every view.

    Args:
        logits: (B, v, 2), similarities to the normal and the anomalous text over the temperature.
        faulty: (B, v) bool, whether the view shows a defect.

    Returns:
        Scalar.
    """
    return functional.cross_entropy(rearrange(logits, "b v s -> (b v) s"), rearrange(faulty, "b v -> (b v)").long())


def cloud_loss(logits: Tensor, faulty: Tensor) -> Tensor:
    """L_3D,glob: cross-entropy of each sample's mean over its own views.

    Args:
        logits: (B, v, 2), as for `view_loss`.
        faulty: (B,) bool.

    Returns:
        Scalar.
    """
    return functional.cross_entropy(logits.mean(dim=1), faulty.long())


def dice_loss(shares: Tensor, mask: Tensor, counted: Tensor | None = None) -> Tensor:
    """Dice loss of the anomalous and of the normal channel.

    1 - mean_b (2 sum(x y) + 1) / (sum x + sum y + 1), for x = shares and y = mask, plus the same for 1 - x and 1 - y.

    Args:
        shares: (B, ...) in [0, 1], the anomalous channel; the normal one is the rest to 1.
        mask: (B, ...) bool, true = anomalous.
        counted: (B, ...) bool, what counts; None: everything. In the authors' code points that are none count as missed
            normal ones.

    Returns:
        Scalar.
    """
    inside = torch.ones_like(shares) if counted is None else counted.to(shares.dtype)
    total = shares.new_zeros(())
    for found, truth in ((shares, mask.to(shares.dtype)), (1 - shares, 1 - mask.to(shares.dtype))):
        found, truth = (inside * found).flatten(1), (inside * truth).flatten(1)  # noqa: PLW2901
        both = 2 * (found * truth).sum(dim=1) + _SMOOTH
        total = total + 1 - (both / (found.sum(dim=1) + truth.sum(dim=1) + _SMOOTH)).mean()
    return total


def focal_loss(shares: Tensor, mask: Tensor) -> Tensor:
    """Focal loss without class weights: the mean of -(1 - p)^2 log p, p = share of the true channel.

    Args:
        shares: (B, ...) in [0, 1], the anomalous channel.
        mask: (B, ...) bool, true = anomalous.

    Returns:
        Scalar.
    """
    right = torch.where(mask, shares, 1 - shares).clamp(min=_LEAST)
    return ((1 - right) ** _FOCUS * -right.log()).mean()


def consistency_loss(cls: Tensor) -> Tensor:
    """L_con: 1 - (1 / v) sum_i <G_i, mean_j G_j>, the mean over the samples.

    Args:
        cls: G, (B, v, C), unit length.

    Returns:
        Scalar.
    """
    return 1 - (cls * cls.mean(dim=1, keepdim=True)).sum(dim=-1).mean()
