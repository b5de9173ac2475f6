# SPDX-License-Identifier: Apache-2.0
"""Storage of finished jobs: one small file each, named after a hash of the settings."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from anomalib_clip3dad.benchmark.grid import Job


class Store:
    """The finished jobs in a folder.

    Args:
        folder: Folder of the jobs; grids with the same folder share their jobs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, job: Job) -> Path:
        """File of a job."""
        return self.folder / f"{job.key}.json"

    def log(self, job: Job) -> Path:
        """Log file of a job."""
        return self.path(job).with_suffix(".log")

    def load(self, job: Job) -> dict[str, Any] | None:
        """Read the record of a job; None if it is not finished or its file is damaged."""
        try:
            return json.loads(self.path(job).read_text(encoding="utf-8"))["record"]
        except (FileNotFoundError, json.JSONDecodeError, KeyError, TypeError):
            return None

    def save(self, job: Job, record: dict[str, Any]) -> None:
        """Save a record together with the settings of the job."""
        write_json(self.path(job), {"job": job._asdict(), "record": record})

    def unfinished(self, jobs: Sequence[Job]) -> list[Job]:
        """Select jobs that still have to be run, without duplicates."""
        return list({job.key: job for job in jobs if self.load(job) is None}.values())


def write_json(path: Path, content: Any) -> None:
    """Write a file completely or not at all, even if the program is interrupted."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}.part")
    unfinished.write_text(json.dumps(content, indent=1), encoding="utf-8")
    unfinished.replace(path)
