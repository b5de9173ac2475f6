# SPDX-License-Identifier: Apache-2.0
"""Figure of a grid: bars for each model with the standard deviation over the seeds, and marks for published numbers."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from anomalib_clip3dad.benchmark import METRICS


def draw(numbers: pd.DataFrame, path: Path) -> None:
    """Draw all four metrics (rows) for every k (columns).

    Args:
        numbers: Result of `summary`.
        path: Output file.
    """
    shots = list(dict.fromkeys(numbers.k_shot))
    wide = 1.5 + 0.25 * numbers.category.nunique() * numbers.model.nunique()
    figure = Figure(figsize=(max(5, wide) * len(shots), 3 * len(METRICS)), layout="constrained")
    axes = figure.subplots(len(METRICS), len(shots), squeeze=False, sharey=True)
    for row, metric in zip(axes, METRICS, strict=True):
        for place, k_shot in zip(row, shots, strict=True):
            _bars(place, numbers[(numbers.metric == metric) & (numbers.k_shot == k_shot)])
            place.set_title(f"{metric}, {k_shot}-shot", fontsize="medium")
        row[0].set_ylabel("per cent")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    figure.savefig(path, dpi=120)


def _bars(place: Axes, numbers: pd.DataFrame) -> None:
    categories, models = list(dict.fromkeys(numbers.category)), list(dict.fromkeys(numbers.model))
    width = 0.8 / len(models)
    for index, model in enumerate(models):
        row = numbers[numbers.model == model].set_index("category").loc[categories].astype({"std": float})
        at = np.arange(len(categories)) + (index - (len(models) - 1) / 2) * width
        place.bar(at, row["mean"].astype(float), width, yerr=row["std"], label=model, capsize=2)
        printed = row.published.astype(float)
        mark = "published" if index == 0 and printed.notna().any() else None
        place.scatter(at, printed, marker="_", color="black", s=400 * width, zorder=3, label=mark)
    place.set_xticks(range(len(categories)), categories, rotation=45, ha="right", fontsize="small")
    place.set_ylim(0, 100)
    place.grid(axis="y", alpha=0.3)
