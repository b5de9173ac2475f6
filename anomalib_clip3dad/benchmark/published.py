# SPDX-License-Identifier: Apache-2.0
"""The numbers that CLIP3D-AD's authors print: Tables 1 to 7 of arXiv 2406.18941, in per cent, all on MVTec 3D-AD."""

from functools import cache
from pathlib import Path

import pandas as pd

MEAN = "mean"
CATEGORIES = (
    "bagel", "cable_gland", "carrot", "cookie", "dowel", "foam", "peach", "potato", "rope", "tire",
)  # fmt: skip

_TABLES = Path(__file__).parent / "tables"
_PER_CATEGORY = {1: "image_AUROC", 2: "pixel_AUPRO"}


def read_table(number: int) -> pd.DataFrame:
    """Read a table as it is printed.

    Args:
        number: from 1 to 7.

    Returns:
        A row for each method and k; `k_shot` of Table 4 may be "full". Methods are called alike in all tables.
    """
    return pd.read_csv(_TABLES / f"table{number}.csv")


@cache
def _printed() -> dict[tuple[str, int, str, str], float]:
    """Value by method, k, category and metric; where tables repeat each other, they agree."""
    values = {}
    for number in (1, 2, 3, 5, 6, 7):  # all but those with full shots
        for row in read_table(number).to_dict("records"):
            method, shots = row.pop("method"), row.pop("k_shot")
            for name, value in row.items():
                if pd.isna(value):
                    continue
                category, metric = (name, _PER_CATEGORY[number]) if number in _PER_CATEGORY else (MEAN, name)
                values[method, shots, category, metric] = value
    return values


def published_methods() -> list[str]:
    """Names that `published` knows."""
    return list(dict.fromkeys(method for method, *_ in _printed()))


def published(method: str | None, k_shot: int, category: str, metric: str) -> float | None:
    """Look a number up.

    Args:
        method: as in the first column of a table, "Ours" or "{6, 9}".
        k_shot: 1, 2 or 4.
        category: of MVTec 3D-AD, or "mean".
        metric: image_AUROC, image_AUPR, pixel_AUROC or pixel_AUPRO.

    Returns:
        Per cent, or None if the paper has no such number.

    >>> published("Ours", 1, "bagel", "image_AUROC")
    91.1
    >>> published("{6, 9}", 2, "mean", "pixel_AUPRO")
    89.2
    """
    return _printed().get((method or "", k_shot, category, metric))
