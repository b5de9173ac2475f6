# SPDX-License-Identifier: Apache-2.0
"""Images of RGB + XYZ samples and their predictions, other result files, and the folder of a run."""

from .panel import DepthVisualizer, draw_panel
from .result_files import ResultFiles
from .results_folder import ResultsFolder

__all__ = ["DepthVisualizer", "ResultFiles", "ResultsFolder", "draw_panel"]
