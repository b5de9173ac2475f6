# SPDX-License-Identifier: Apache-2.0
"""A trained model as one graph, from image and cloud to prediction."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from .metadata import INPUTS, OUTPUTS
from .resize import exportable

logger = logging.getLogger(__name__)

_ANY_SIZE = (272, 336)  # example size for tracing a graph for any size; the graph does not depend on it


class ExportGraph(nn.Module):
    """Calls a model of RGB + XYZ and returns its prediction as plain tensors.

    Args:
        model: Model whose forward takes `image` and `xyz` and returns an `InferenceBatch`; used without changes.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        # without a threshold, labels would be false instead of unknown
        self.outputs = OUTPUTS if model.has_threshold else ("pred_score", "anomaly_map")

    def forward(self, image: Tensor, xyz: Tensor) -> tuple[Tensor, ...]:
        """Predict a batch.

        Args:
            image: (B, 3, H, W) RGB in [0, 1].
            xyz: (B, 3, H, W) organised XYZ in metres, camera frame, (0, 0, 0) or not finite = not measured.

        Returns:
            The outputs named in `outputs`: scores (B,), labels (B,), maps (B, S, S), masks (B, S, S), in the order of
            `OUTPUTS`.
        """
        answer = self.model(image, xyz)
        return tuple(getattr(answer, name) for name in self.outputs)


def trace(model: Any, input_size: tuple[int, int] | None) -> tuple[torch.export.ExportedProgram, tuple[str, ...]]:
    """Trace a model from image and cloud to prediction.

    Args:
        model: See `ExportGraph`; unchanged afterwards.
        input_size: Height and width of images and clouds; None for any.

    Returns:
        The program, for any number of samples, and the names of its outputs.
    """
    rows, columns = input_size or _ANY_SIZE
    # values do not matter, since the models do not branch on them; the same tensor twice would become a single input
    image, xyz = (torch.full((2, 3, rows, columns), 0.5, device=model.device) for _ in INPUTS)
    free: dict[int, Any] = {0: torch.export.Dim("batch")}
    if input_size is None:
        free |= {2: torch.export.Dim("height", min=2), 3: torch.export.Dim("width", min=2)}
    with _ready(model):
        graph = ExportGraph(model)
        program = torch.export.export(graph, (image, xyz), dynamic_shapes=(free, dict(free)))
    return program, graph.outputs


@contextmanager
def _ready(model: Any) -> Iterator[None]:
    """Put the model into evaluation mode with an exportable transform, temporarily."""
    pre_processor, was_training = model.pre_processor, model.training
    transform = getattr(pre_processor, "transform", None)
    model.eval()
    if transform is not None:
        pre_processor.transform = exportable(transform)
    try:
        yield
    finally:
        if transform is not None:
            pre_processor.transform = transform
        model.train(was_training)
