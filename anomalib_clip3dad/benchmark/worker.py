# SPDX-License-Identifier: Apache-2.0
"""`python -m anomalib_clip3dad.benchmark.worker JOB.json RESULT.json CPUS`: runs a job in its own process."""

import json
import os
import sys
import threading
from pathlib import Path

from anomalib_clip3dad.benchmark.grid import Job
from anomalib_clip3dad.benchmark.store import write_json


def main() -> None:
    """Run the job and write its record, or the reason why there is none."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    from anomalib_clip3dad.benchmark.job import attempt  # noqa: PLC0415 - takes seconds, in which the parent may end

    asked, result, cpus = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    write_json(result, attempt(Job(**json.loads(asked.read_text(encoding="utf-8"))), cpus or None))


def _end_with_parent() -> None:
    """End this process when the parent ends, even if killed: its end of the pipe then closes."""
    os.read(sys.stdin.fileno(), 1)  # unbuffered, since the buffer's lock would block the exit
    os._exit(1)


if __name__ == "__main__":
    main()
