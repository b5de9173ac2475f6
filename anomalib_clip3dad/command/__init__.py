# SPDX-License-Identifier: Apache-2.0
"""The command `clip3dad`: checks, configs, toy parts and benchmarks."""

import sys
from collections.abc import Callable
from importlib import import_module

from jsonargparse import auto_cli

from anomalib_clip3dad.errors import print_input_errors_plainly

COMMANDS = ("benchmark", "check", "configs", "doctor", "parity", "threshold", "toy")


def main() -> None:
    """Run the command line; exit status 1 if something is wrong."""
    print_input_errors_plainly(sys.excepthook)
    # only the requested command, since others may import packages that take many seconds
    asked = [name for name in COMMANDS if name in sys.argv[1:2]] or COMMANDS
    faults = auto_cli({name: _function(name) for name in asked}, prog="clip3dad", as_positional=True)
    sys.exit(1 if faults else 0)


def _function(name: str) -> Callable:
    return getattr(import_module(f"{__name__}.{name}"), name)
