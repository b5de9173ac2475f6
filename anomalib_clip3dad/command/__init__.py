# SPDX-License-Identifier: Apache-2.0
"""The command `clip3dad`: what to look at before, beside and after a training."""

import sys

from jsonargparse import auto_cli

from anomalib_clip3dad.errors import print_input_errors_plainly

from .benchmark import benchmark
from .check import check
from .doctor import doctor
from .parity import parity
from .toy import toy


def main() -> None:
    """Run what the command line asks for; exit status 1 if something is wrong."""
    print_input_errors_plainly(sys.excepthook)
    faults = auto_cli(
        {"benchmark": benchmark, "check": check, "doctor": doctor, "parity": parity, "toy": toy},
        prog="clip3dad",
        as_positional=True,
    )
    sys.exit(1 if faults else 0)
