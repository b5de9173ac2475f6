# SPDX-License-Identifier: Apache-2.0

"""What a user should know of input that can be used: logged once for many files, or collected by `clip3dad check`."""

import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

logger = logging.getLogger(__name__)

_sink: ContextVar[list[tuple[str, str]] | None] = ContextVar("notes", default=None)
_told: set[tuple[Path, str]] = set()


def tell(name: str | Path, message: str) -> None:
    """Note something about a file.

    Args:
        name: Name of the file or the argument.
        message: One line without the name; it is logged for the first file of a folder that it holds for.
    """
    sink = _sink.get()
    if sink is not None:
        sink.append((str(name), message))
        return
    key = Path(name).parent, _pattern(message)
    if key not in _told:
        _told.add(key)
        logger.warning("%s: %s (told once for each folder)", name, message)


@contextmanager
def collected() -> Iterator[list[tuple[str, str]]]:
    """Collect what would be logged.

    Yields:
        Name and message of each note, filled meanwhile.
    """
    notes: list[tuple[str, str]] = []
    token = _sink.set(notes)
    try:
        yield notes
    finally:
        _sink.reset(token)


def grouped(notes: Iterable[tuple[str, str]]) -> list[str]:
    """Join what differs in file and numbers alone.

    Args:
        notes: Name of a file and message, in order.

    Returns:
        One line for each message: the first of its kind, and for how many files it holds.

    Example:
        >>> grouped([("a/1.png", "2 pages"), ("a/2.png", "3 pages"), ("a/3.png", "no image")])
        ['a/1.png: 2 pages (2 files: 1.png, 2.png)', 'a/3.png: no image']
    """
    kinds: dict[str, list[tuple[str, str]]] = {}
    for name, message in notes:
        stem = Path(name).stem
        key = _pattern(re.sub(rf"(?<![^\s/]){re.escape(stem)}(?=\W)", "*", message)) if stem else _pattern(message)
        kinds.setdefault(f"{Path(name).parent}{key}", []).append((name, message))
    return [_line(list(dict.fromkeys(same))) for same in kinds.values()]


def _line(notes: list[tuple[str, str]], at_most: int = 6) -> str:
    name, message = notes[0]
    if len(notes) == 1:
        return f"{name}: {message}"
    names = [Path(other).name for other, _ in notes]
    more = ", ..." if len(names) > at_most else ""
    return f"{name}: {message} ({len(names)} files: {', '.join(names[:at_most])}{more})"


def _pattern(message: str) -> str:
    return re.sub(r"\d+(?:\.\d+)?(?:e[-+]?\d+)?", "#", message)
