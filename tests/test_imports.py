# SPDX-License-Identifier: Apache-2.0
"""Imports go one way, in functions, too."""

import ast
from pathlib import Path

import anomalib_clip3dad

PACKAGE = Path(anomalib_clip3dad.__file__).parent
NAME = PACKAGE.name
# what each room may import of the package, beside itself and the modules that import nothing of it
FREE = {
    "errors",
    "seeding",
    "registration",
    "weights",
    "efficientnet",
    "metrics",
    "post_processing",
    "limits",
    "lazy",
    "ray_cluster",
    "labels",
}
BELOW = {
    "geometry": set(),
    "toy": set(),
    "clip": set(),
    "synthesis": {"geometry"},
    "point_metrics": {"geometry"},
    "callbacks": {"geometry", "synthesis"},
    "data": {"geometry", "synthesis", "toy"},
    "report": set(),
    "visualization": {"data", "geometry", "report"},
    "export": {"geometry"},
    "models": {
        "geometry",
        "clip",
        "synthesis",
        "callbacks",
        "data",
        "visualization",
        "export",
        "point_metrics",
    },
    "inference": {"models", "export", "data", "report"},
    "benchmark": {"models", "data", "clip", "visualization"},
    "command": {"benchmark", "inference", "export", "models", "data", "clip", "toy", "geometry", "report"},
    "deploy": {"export", "inference"},
    "__init__": {"data", "inference", "models"},
}


def imported(file: Path) -> set[str]:
    """Rooms of the package that a file imports from, wherever in it."""
    module = [NAME, *file.relative_to(PACKAGE).with_suffix("").parts]
    rooms = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(module[: -node.level]) if node.level else ""
            whole = ".".join(part for part in (base, node.module) if part)
            names = [f"{whole}.{alias.name}" for alias in node.names] if whole == NAME else [whole]
        rooms |= {name.split(".")[1] for name in names if name.startswith(f"{NAME}.")}
    return rooms


def test_no_room_imports_from_above() -> None:
    for file in PACKAGE.rglob("*.py"):
        room = file.relative_to(PACKAGE).with_suffix("").parts[0]
        allowed = FREE | BELOW.get(room, set()) | {room}
        assert imported(file) <= allowed, f"{file}: {imported(file) - allowed}"


def test_there_is_no_circle() -> None:
    def reached(room: str) -> set[str]:
        return {other for below in BELOW.get(room, set()) for other in {below, *reached(below)}}

    assert all(room not in reached(room) for room in BELOW)


def test_what_all_may_import_imports_little() -> None:
    for name in FREE:
        assert imported(PACKAGE / f"{name}.py") <= FREE
