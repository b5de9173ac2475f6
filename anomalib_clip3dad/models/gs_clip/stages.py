# SPDX-License-Identifier: Apache-2.0
"""What both stages of the training learn from, and their losses."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from anomalib_clip3dad.geometry.back_projection import back_project

from .loss import CONSISTENCY, cloud_loss, consistency_loss, dice_loss, focal_loss, view_loss
from .torch_model import GsClipModel, Views


class Known(NamedTuple):
    """What never changes of B training samples.

    Attributes:
        cls: (B, v, C), embeddings of the shaded views.
        patches: (B, v, N_p, C), their patches.
        depth: (B, v, 1, S, S), the depth views.
        cells: (B, v, N) int64, see `Observation`.
        visible: (B, v, N) bool.
        truth: (B, v, S, S) bool, the mask as the views show it.
        mask: (B, N) bool, the mask of the points.
        part: (B, N) bool, the points that are the part.
        points: (B, P, 3), see `sample_points`; P = 0 if the prompts do not depend on them.
    """

    cls: Tensor
    patches: Tensor
    depth: Tensor
    cells: Tensor
    visible: Tensor
    truth: Tensor
    mask: Tensor
    part: Tensor
    points: Tensor


def stage_losses(model: GsClipModel, known: Known, second: bool, names: Sequence[str]) -> dict[str, Tensor]:
    """Compute the losses of a stage.

    GS-CLIP, sections 3.2 and 3.3. In stage 1 the prompts learn; in stage 2 they stay as they are, statistics included,
    and depth stream and refinement learn.

    Args:
        model: The model.
        known: B training samples.
        second: Whether it is stage 2.
        names: Which of `LOSSES`.

    Returns:
        Scalars by name.
    """
    views = Views(known.cls, known.patches)
    # frozen, PointNet++ neither drops anything nor counts
    for frozen in (model.points, model.prompts):
        if frozen is not None:
            frozen.train(model.training and not second)
    with torch.set_grad_enabled(torch.is_grad_enabled() and not second):
        text = model.text(known.points)
    if second:
        views = model.refine(views, known.depth)
    judged = model.compare(views, text)
    on_points = back_project(judged.maps, known.cells, known.visible)
    counted = known.part & known.visible.any(dim=1)
    each = {
        "views": lambda: view_loss(judged.logits, known.truth.flatten(2).any(dim=2)),
        "cloud": lambda: cloud_loss(judged.logits, known.mask.any(dim=1)),
        "points": lambda: dice_loss(on_points, known.mask, counted),
        "pixels": lambda: focal_loss(judged.maps, known.truth) + dice_loss(judged.maps, known.truth),
        "consistency": lambda: CONSISTENCY * consistency_loss(views.cls),
    }
    return {name: each[name]() for name in names}
