# SPDX-License-Identifier: Apache-2.0
"""Errors in the user's input: what was found and how to fix it; `anomalib` prints them without a traceback."""

import errno
import importlib.util
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import ClassVar


class InputError(ValueError):
    """A file or an argument that cannot be used.

    Args:
        message: One line that names the file or argument, what was found, and how to fix it.
    """

    # only the message: an error would keep everything alive that its traceback refers to, such as batches and models
    latest: ClassVar[str] = ""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        InputError.latest = message


class MissingFileError(InputError, FileNotFoundError):
    """A missing file or folder."""


class UnreachableError(InputError, ConnectionError):
    """Something that cannot be downloaded."""


class MissingPackageError(InputError, ImportError):
    """A missing optional package."""


def need(*packages: str, what: str = "export", extra: str = "deploy") -> None:
    """Raise if one of these packages is missing.

    Args:
        packages: Their names.
        what: What needs them.
        extra: The extra of this package that installs them.

    Raises:
        ImportError: If one is missing; the message says what to install.
    """
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        msg = f"{', '.join(missing)}: not installed; {what} needs pip install 'anomalib_clip3dad[{extra}]'"
        raise MissingPackageError(msg)


UNSAFE = (
    "the file is damaged, or holds more than weights and settings, and reading it could run code of whoever made it; "
    "give one of tensors and plain values alone: a .safetensors file, a plain state dict, a checkpoint of this package"
)


_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def explanation(error: BaseException) -> str | None:
    """Find the message for the user in an uncaught error.

    Args:
        error: The error that was raised.

    Returns:
        The message of the InputError that it is or contains, or what to do about a full disk or an unsafe pickle; None
        for all others.

    Example:
        >>> explanation(InputError("tire/000.tiff: truncated; copy it again"))
        'tire/000.tiff: truncated; copy it again'
        >>> explanation(KeyError("a fault of ours")) is None
        True
    """
    if isinstance(error, InputError):
        # the message from a data loader's worker process includes its traceback (torch 2.15)
        last = str(error).strip().splitlines()[-1]
        return last.partition("Error: ")[2] if "Original Traceback" in str(error) else str(error)
    if isinstance(error, pickle.UnpicklingError):  # torch's own message advises to read the file all the same
        return UNSAFE
    if isinstance(error, OSError) and error.errno in _FULL:
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror}; make room, or write elsewhere (anomalib: --default_root_dir, clip3dad: --out)"
    # jsonargparse 4.46 quotes the message of an error in a constructor and drops the error itself
    latest = InputError.latest
    return latest if latest and isinstance(error, ValueError) and latest in str(error) else None


def print_input_errors_plainly(
    previous: Callable[[type[BaseException], BaseException, TracebackType | None], object],
) -> None:
    """Print uncaught InputErrors as one line; all other errors go to the `previous` hook."""

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        message = explanation(error)
        if message is None:
            previous(kind, error, trace)
        else:
            print(f"\nerror: {message}", file=sys.stderr)

    sys.excepthook = hook


# Only on anomalib's command line: in Python the traceback is useful.
if Path(sys.argv[0]).name in {"anomalib", "anomalib.exe"}:
    print_input_errors_plainly(sys.excepthook)
