# SPDX-License-Identifier: Apache-2.0
"""Numbers published in papers, in per cent, on MVTec 3D-AD unless the name of a folder says otherwise.

`tables/PAPER/tableN.csv` holds Table N of a paper: `method`, `k_shot` ("full" where all normal parts were used, 0 where
none of the tested category), perhaps `source`, where a row is from, and either `metric` and a column for each category
and "mean", or a column for each metric's mean over the categories.
clip3d_ad: arXiv 2406.18941, Tables 1 to 7.
lsfa: arXiv 2401.03145, whose tables could not be read. Table 1 (by category) and 2 (ablation) are numbered by us; where
each row is from stands in the column `source`. Check them before quoting.
gs_clip, gs_clip_eyecandies, gs_clip_real3d, gs_clip_shapenet: arXiv 2602.19206 and what it is compared with, likewise:
one-vs-rest (1), ablation or cross-dataset (2), another protocol (3), each the mean of three training categories, from a
cloud alone unless RGB is named. An issue of the authors' repository finds them hard to reproduce.
"""

from functools import cache
from pathlib import Path

import pandas as pd

MEAN = "mean"
CATEGORIES = (
    "bagel", "cable_gland", "carrot", "cookie", "dowel", "foam", "peach", "potato", "rope", "tire",
)  # fmt: skip

_TABLES = Path(__file__).parent / "tables"


def read_table(paper: str, number: int) -> pd.DataFrame:
    """Read a table as printed in the paper.

    Args:
        paper: Name of its folder, such as "clip3d_ad" or "gs_clip".
        number: Number of the table, from 1.

    Returns:
        One row per method, k and, in tables by category, metric. Methods have the same name in all tables of a paper.
    """
    return pd.read_csv(_TABLES / paper / f"table{number}.csv")


@cache
def _printed() -> dict[tuple[str, int, str, str], float]:
    """Value by method, k, category and metric; values that appear in several tables of a paper agree."""
    values = {}
    for file in sorted(_TABLES.glob("*/table*.csv")):
        for row in pd.read_csv(file).to_dict("records"):
            method, shots, of_row = (
                f"{file.parent.name}/{row.pop('method')}",
                str(row.pop("k_shot")),
                row.pop("metric", ""),
            )
            row.pop("source", None)
            for name, value in row.items():
                if pd.isna(value) or not shots.isdigit():
                    continue
                category, metric = (name, of_row) if of_row else (MEAN, name)
                values[method, int(shots), category, metric] = value
    return values


def published_methods() -> list[str]:
    """List the names that `published` knows, as PAPER/METHOD."""
    return list(dict.fromkeys(method for method, *_ in _printed()))


def published(method: str | None, k_shot: int, category: str, metric: str) -> float | None:
    """Look up a published number.

    Args:
        method: PAPER/METHOD as in the first column of its tables, "clip3d_ad/Ours" or "clip3d_ad/{6, 9}".
        k_shot: Number of shots, 1, 2 or 4, or 0.
        category: Category of MVTec 3D-AD, or "mean".
        metric: image_AUROC, image_AUPR, pixel_AUROC or pixel_AUPRO.

    Returns:
        Per cent, or None if no paper has such a number.

    Example:
        >>> published("clip3d_ad/Ours", 1, "bagel", "image_AUROC")
        91.1
        >>> published("clip3d_ad/{6, 9}", 2, "mean", "pixel_AUPRO")
        89.2
    """
    return _printed().get((method or "", k_shot, category, metric))
