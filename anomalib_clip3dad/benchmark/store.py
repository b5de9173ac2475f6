# SPDX-License-Identifier: Apache-2.0
"""Where finished jobs are kept: one small file each, named after what was asked."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from anomalib_clip3dad.benchmark.grid import Job


class Store:
    """The finished jobs of a folder.

    Args:
        folder: where they are; grids that share it share their jobs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, job: Job) -> Path:
        """The file of a job."""
        return self.folder / f"{job.key}.json"

    def log(self, job: Job) -> Path:
        """Where what the job said is kept."""
        return self.path(job).with_suffix(".log")

    def load(self, job: Job) -> dict[str, Any] | None:
        """The record of a job, None if it is not finished, or its file is damaged."""
        try:
            return json.loads(self.path(job).read_text(encoding="utf-8"))["record"]
        except (FileNotFoundError, json.JSONDecodeError, KeyError, TypeError):
            return None

    def save(self, job: Job, record: dict[str, Any]) -> None:
        """Keep a record, beside what was asked."""
        write_json(self.path(job), {"job": job._asdict(), "record": record})

    def unfinished(self, jobs: Sequence[Job]) -> list[Job]:
        """Those that are still to be run; of several that ask for the same, one."""
        return list({job.key: job for job in jobs if self.load(job) is None}.values())


def write_json(path: Path, content: Any) -> None:
    """Write a file that is there whole or not at all, whenever the program ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}.part")
    unfinished.write_text(json.dumps(content, indent=1), encoding="utf-8")
    unfinished.replace(path)
