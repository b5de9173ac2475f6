# SPDX-License-Identifier: Apache-2.0

"""What two lists of names have in common that should be equal."""

import os
import re
from collections.abc import Callable, Sequence

_ENOUGH = 0.8  # of the shorter list has to fit


def pattern_between(
    ours: Sequence[str], theirs: Sequence[str], all_ours: Sequence[str], all_theirs: Sequence[str]
) -> str:
    """Find how the names of files without a partner differ from those that they might belong to.

    Args:
        ours: Names on one side that have no partner.
        theirs: Names on the other side that have none.
        all_ours: All names on the one side.
        all_theirs: All names on the other side.

    Returns:
        What was found, "" if nothing was.

    Example:
        >>> ours, theirs = ["000_rgb", "001_rgb"], ["000_xyz", "001_xyz"]
        >>> pattern_between(ours, theirs, ours, theirs)
        'names end in _rgb here and _xyz there'
        >>> pattern_between(["00"], ["02"], ["00", "01"], ["01", "02"])
        'numbers run from 0 here and from 1 there, so that all pairs may be wrong'
    """
    if not ours or not theirs:
        return ""
    shift = _shift(all_ours, all_theirs)
    if shift:
        return shift
    if _match(ours, theirs, str.lower):
        return "names differ in upper and lower case"
    if len(ours) > 1 and len(theirs) > 1:
        cut = [_affixes(names) for names in (ours, theirs)]
        sides = zip((ours, theirs), cut, strict=True)
        cores = [{name[len(start) : len(name) - len(end)] for name in names} for names, (start, end) in sides]
        if _enough(*cores):
            return _affixes_told(*cut)
    if _match(ours, theirs, _numbers):
        return f"names hold the same numbers, written differently: {ours[0]} here, {theirs[0]} there"
    return ""


def _match(ours: Sequence[str], theirs: Sequence[str], change: Callable[[str], object]) -> bool:
    return _enough({change(name) for name in ours}, {change(name) for name in theirs})


def _enough(ours: set, theirs: set) -> bool:
    return len(ours & theirs - {()}) >= max(1, _ENOUGH * min(len(ours), len(theirs)))


def _numbers(name: str) -> tuple[int, ...]:
    return tuple(int(digits) for digits in re.findall(r"\d{1,18}", name))


def _shift(ours: Sequence[str], theirs: Sequence[str]) -> str:
    """Numbers of equally many names that run from another start."""
    numbers = [sorted(_numbers(name) for name in names) for names in (ours, theirs)]
    if any(len(number) != 1 for side in numbers for number in side) or len(ours) != len(theirs):
        return ""
    shifts = {b[0] - a[0] for a, b in zip(*numbers, strict=True)}
    if len(shifts) != 1 or shifts == {0}:
        return ""
    return f"numbers run from {numbers[0][0][0]} here and from {numbers[1][0][0]} there, so that all pairs may be wrong"


def _affixes(names: Sequence[str]) -> tuple[str, str]:
    """What all names begin and end with, without digits at the rims, which count up."""
    start = _common_start(names).rstrip("0123456789")
    end = _common_start([name[len(start) :][::-1] for name in names])[::-1].lstrip("0123456789")
    return start, end


def _common_start(names: Sequence[str]) -> str:
    return os.path.commonprefix(list(names))  # noqa: RUF071  # by characters is what is meant


def _affixes_told(ours: tuple[str, str], theirs: tuple[str, str]) -> str:
    ways = zip(("begin with", "end in"), ours, theirs, strict=True)
    told = [f"{way} {one or 'nothing'} here and {other or 'nothing'} there" for way, one, other in ways if one != other]
    return f"names {' and '.join(told)}"
