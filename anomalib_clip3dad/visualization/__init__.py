# SPDX-License-Identifier: Apache-2.0
"""Images of RGB + XYZ samples, predictions and trainings, other result files, and the folder of a run."""

from .panel import DepthVisualizer, draw_panel
from .result_files import ResultFiles
from .results_folder import ResultsFolder
from .training import TrainingMonitor, draw_losses, save_figure

__all__ = [
    "DepthVisualizer",
    "ResultFiles",
    "ResultsFolder",
    "TrainingMonitor",
    "draw_losses",
    "draw_panel",
    "save_figure",
]
