# SPDX-License-Identifier: Apache-2.0
"""The command `clip3dad`: checks, configs, toy parts, predictions and benchmarks."""

import sys
from importlib import import_module

from anomalib_clip3dad.errors import print_input_errors_plainly

COMMANDS = {
    "benchmark": "run a grid of models, data and seeds, and report",
    "check": "look at a folder of samples before a training",
    "configs": "print a config, or write all of them",
    "demo": "judge parts in the browser with a trained model",
    "doctor": "check the installation",
    "parity": "compare an exported model with its checkpoint",
    "predict": "judge every part of a folder with a trained model",
    "report": "write a page with the results of a prediction or a test",
    "threshold": "set the threshold of a checkpoint for a rate of false alarms",
    "toy": "write toy parts with defects",
}
_SWITCHES = {"--watch"}  # jsonargparse 4.46 wants a value behind every argument


def main() -> None:
    """Run the command line; exit status 1 if something is wrong."""
    print_input_errors_plainly(sys.excepthook)
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name not in COMMANDS:
        print(usage())
        asked = name in {"-h", "--help"}
        sys.exit(0 if asked else f"error: {name}: no such command")
    from jsonargparse import auto_cli  # noqa: PLC0415  # help needs neither this nor the commands, which take seconds

    function = getattr(import_module(f"{__name__}.{name}"), name)
    arguments = [f"{word}=true" if word in _SWITCHES else word for word in sys.argv[1:]]
    faults = auto_cli({name: function}, args=arguments, prog="clip3dad", as_positional=True)
    sys.exit(1 if faults else 0)


def usage() -> str:
    """List the commands."""
    lines = [f"  {name:11}{what}" for name, what in COMMANDS.items()]
    return "\n".join(
        ["usage: clip3dad COMMAND ...", "", *lines, "", "clip3dad COMMAND --help lists the arguments of one."]
    )
