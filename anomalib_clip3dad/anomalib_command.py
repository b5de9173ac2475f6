# SPDX-License-Identifier: Apache-2.0
"""What the command `anomalib` 2.7.0 lacks: the seed, and faults of checkpoints and arguments in one line.

It parses `seed_everything` and never uses it, opens checkpoints without asking what they are, and prints a page for an
unknown argument. Nothing changes for commands that do not name this package.
"""

import functools
import inspect
import re
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

from anomalib.cli.cli import AnomalibCLI
from jsonargparse import ArgumentParser
from lightning.pytorch import seed_everything

import anomalib_clip3dad
from anomalib_clip3dad.weights import check_checkpoint

_PACKAGE = anomalib_clip3dad.__name__
_UNKNOWN = re.compile(r"(?:NestedArg\(key=|Option |Key )'([\w.]+)'")
_WRONG = re.compile(r'Parser key "([\w.]+)":(?!.*Parser key)(.*)', re.DOTALL)
_TYPES = {
    "NoneType": "null",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "a text",
    "Path": "a path",
    "Sequence": "a list",
}


def names_this_package(arguments: Sequence[str]) -> bool:
    """Tell whether an argument, or a config file among them, names this package."""
    files = (Path(argument.rpartition("=")[2]) for argument in arguments)
    configs = (file for file in files if file.suffix in {".yaml", ".json"} and file.is_file())
    texts = (file.read_text(encoding="utf-8", errors="ignore") for file in configs)
    return any(_PACKAGE in text for text in (*arguments, *texts))


def known_arguments() -> set[str]:
    """List the arguments of this package's models and data modules."""
    classes = (getattr(anomalib_clip3dad, name) for name in anomalib_clip3dad.__all__)
    parents = (parent for kind in classes for parent in inspect.getmro(kind) if parent.__module__.startswith(_PACKAGE))
    return {name for parent in parents for name in inspect.signature(parent).parameters}


def suggestion(message: str) -> str | None:
    """Find the argument that a message of the parser calls unknown, and the one that it may stand for.

    Args:
        message: Message of jsonargparse 4.46, for instance "Option 'k_shots' is not accepted".

    Returns:
        One line; None if no unknown argument is like one of this package.

    Example:
        >>> suggestion("Option 'k_shots' is not accepted")
        'k_shots: no such argument; did you mean k_shot?'
    """
    known = known_arguments()
    for unknown in _UNKNOWN.findall(message):
        name = unknown.rpartition(".")[2]
        alike = get_close_matches(name, sorted(known), n=1)
        if name not in known and alike:
            return f"{name}: no such argument; did you mean {alike[0]}?"
    return None


def wrong_value(message: str) -> str | None:
    r"""Find the argument of this package that a message of the parser calls of a wrong type.

    Args:
        message: Message of jsonargparse 4.46, in which the innermost argument comes last.

    Returns:
        One line; None if there is no such argument.

    Example:
        >>> wrong_value('Parser key "k_shot":\n  Expected a <class \'int\'>. Got value: four')
        'k_shot=four: a whole number is needed'
    """
    if not (found := _WRONG.search(message)) or found[1] not in known_arguments():
        return None
    value = re.search(r"(?:Given value|Got value): (.*)", found[2])
    wanted = re.findall(r"Expected a <class '(?:[\w.]+\.)?(\w+)'>", found[2])
    if not value or not wanted or not set(wanted) <= set(_TYPES):
        return None
    kinds = sorted(dict.fromkeys(wanted), key=lambda kind: kind == "NoneType")
    return f"{found[1]}={value[1]}: {' or '.join(_TYPES[kind] for kind in kinds)} is needed"


def _use_the_seed(config: Any) -> None:
    seed = config.get("seed_everything")
    if seed is True:
        seed_everything(workers=True)
    elif isinstance(seed, int) and seed is not False:
        seed_everything(seed, workers=True)


def _before_instantiate_classes(original: Any) -> Any:
    @functools.wraps(original)
    def prepared(self: AnomalibCLI) -> None:
        config = self.config.get(str(self.config["subcommand"]))
        kinds = ((config.get(key) or {}) for key in ("model", "data")) if config else ()
        if any(str(getattr(kind, "class_path", "")).startswith(_PACKAGE) for kind in kinds):
            if config.get("ckpt_path"):
                check_checkpoint(config["ckpt_path"], "ckpt_path")
            _use_the_seed(config)
        original(self)

    return prepared


def _error(original: Any) -> Any:
    @functools.wraps(original)
    def with_suggestion(self: ArgumentParser, message: str, ex: Exception | None = None) -> NoReturn:
        # parsers of parts of the command raise, and the one of the whole command exits
        if (
            self.exit_on_error
            and names_this_package(sys.argv[1:])
            and (line := suggestion(message) or wrong_value(message))
        ):
            print(f"\nerror: {line}", file=sys.stderr)
            sys.exit(2)
        original(self, message, ex)
        raise AssertionError  # the original does not return

    return with_suggestion


AnomalibCLI.before_instantiate_classes = _before_instantiate_classes(  # type: ignore[method-assign]
    AnomalibCLI.before_instantiate_classes
)
# of the class, as the command makes its parsers before it meets the name of this package
ArgumentParser.error = _error(ArgumentParser.error)  # type: ignore[method-assign]
