# SPDX-License-Identifier: Apache-2.0
"""Bad input: errors that say what was found and what to do, and that `anomalib` prints without a traceback."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import ClassVar


class InputError(ValueError):
    """A file or an argument that cannot be used.

    Args:
        message: one line: which file or argument, what was found, what to do.
    """

    # the message alone: a kept error would keep all that its traceback saw, batches and models among it
    latest: ClassVar[str] = ""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        InputError.latest = message


class MissingFileError(InputError, FileNotFoundError):
    """A file or folder that is not there."""


class UnreachableError(InputError, ConnectionError):
    """Something that only a network could bring."""


class MissingPackageError(InputError, ImportError):
    """An optional package that is not installed."""


def explanation(error: BaseException) -> str | None:
    """Find the line for the user in an error that reached the top.

    Args:
        error: what was raised.

    Returns:
        The message of the InputError in it, None if there is none.

    Example:
        >>> explanation(InputError("tire/000.tiff: truncated; copy it again"))
        'tire/000.tiff: truncated; copy it again'
        >>> explanation(KeyError("a fault of ours")) is None
        True
    """
    if isinstance(error, InputError):
        # a loader's worker process sends its traceback along as the message (torch 2.15)
        last = str(error).strip().splitlines()[-1]
        return last.partition("Error: ")[2] if "Original Traceback" in str(error) else str(error)
    # jsonargparse 4.46 quotes what went wrong in a constructor and drops the error itself
    latest = InputError.latest
    return latest if latest and isinstance(error, ValueError) and latest in str(error) else None


def print_input_errors_plainly(
    previous: Callable[[type[BaseException], BaseException, TracebackType | None], object],
) -> None:
    """Let uncaught InputErrors end the program with their one line; all others go on to the `previous` hook."""

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        message = explanation(error)
        if message is None:
            previous(kind, error, trace)
        else:
            print(f"\nerror: {message}", file=sys.stderr)

    sys.excepthook = hook


# On anomalib's command line only: whoever writes Python wants to see where an error came from.
if Path(sys.argv[0]).name in {"anomalib", "anomalib.exe"}:
    print_input_errors_plainly(sys.excepthook)
