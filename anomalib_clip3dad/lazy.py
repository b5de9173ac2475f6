# SPDX-License-Identifier: Apache-2.0
"""Names that are imported when they are first used."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazily(module: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Make the `__getattr__` of a module (PEP 562).

    Args:
        module: Its name.
        homes: The module that has each name, relative to `module` (".reading"); for a submodule itself, "".

    Returns:
        The function.

    Example:
        >>> lazily("json", {"JSONDecoder": ".decoder"})("JSONDecoder").__name__
        'JSONDecoder'
    """

    def find(name: str) -> Any:
        if name not in homes:
            msg = f"module {module!r} has no attribute {name!r}"
            raise AttributeError(msg)
        return getattr(import_module(homes[name], module), name) if homes[name] else import_module(f".{name}", module)

    return find
