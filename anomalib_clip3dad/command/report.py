# SPDX-License-Identifier: Apache-2.0
"""The report of a run as one page."""

from pathlib import Path

from anomalib_clip3dad.report import write_report


def report(run: Path, most: int = 200) -> None:
    """Write a page with the scores, panels and turnable parts of a prediction or a test.

    Args:
        run: Folder of the run, where scores.csv is.
        most: Largest number of samples that are shown, those with the highest scores; all are counted.
    """
    print(f"Report: {write_report(run, most).absolute()}")
