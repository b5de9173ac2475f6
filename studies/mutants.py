# SPDX-License-Identifier: Apache-2.0
"""Mutation testing: changes the package in one place at a time and sees whether a test fails.

Each mutant first meets the tests that mirror its file, with the file's own examples, and, if it lives, all tests of
geometry (files of geometry only). Results are kept: a second run tries only those that lived before. Delete the file of
results (`--out`) after a change of the package, or to try all again.

Needs a system with `fork`.

python studies/mutants.py geometry models/clip3d_ad/loss.py
"""

import argparse
import ast
import copy
import gc
import json
import os
import random
import resource
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from itertools import count
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, NamedTuple

import pytest
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "anomalib_clip3dad"
LIMIT = 60  # seconds of a core for the tests of one mutant: one that hangs is noticed, too
MEMORY = 8 << 30  # bytes
PYTEST = (
    "-x",
    "-q",
    "--assert=plain",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:anyio",
    "-p",
    "no:pytest_cov",
    "-p",
    "no:randomly",
)

OPERATORS: dict[type[ast.AST], tuple[type[ast.AST], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Add: (ast.Sub,),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Div,),
    ast.Div: (ast.Mult,),
    ast.FloorDiv: (ast.Mult,),
    ast.Pow: (ast.Mult,),
    ast.BitAnd: (ast.BitOr,),
    ast.BitOr: (ast.BitAnd,),
    ast.And: (ast.Or,),
    ast.Or: (ast.And,),
}
_PAIRS = (
    "amin amax, min max, argmin argmax, minimum maximum, floor ceil, any all, sin cos, zeros ones, sum mean, "
    "zeros_like ones_like, new_zeros new_ones"
)
NAMES = {one: other for pair in _PAIRS.split(", ") for one, other in (pair.split(), pair.split()[::-1])}
NAMES["round"] = "floor"
DROPPED = {"abs", "clamp", "where", "round", "floor", "ceil", "square", "sqrt"}  # x.abs() becomes x

# the text of errors is no behaviour that mutants are counted for
_TEXT = (ast.JoinedStr, ast.Raise, ast.Import, ast.ImportFrom)
_PLAIN = (ast.Name, ast.Constant, ast.keyword, ast.arg, ast.Attribute, ast.UnaryOp)


class Mutant(NamedTuple):
    """A change of a file.

    Attributes:
        file: The file, from the package.
        number: Which of the file's mutants it is.
        line: Line of the change.
        before: The expression or statement as it is.
        after: The same with the change.
        code: The whole file with the change.
    """

    file: str
    number: int
    line: int
    before: str
    after: str
    code: CodeType

    @property
    def key(self) -> tuple[str, int, str, str]:
        """What it is recognised by in later runs."""
        return self.file, self.number, self.before, self.after


def replaced(node: ast.AST, **fields: Any) -> Any:
    """A copy of a node with other fields."""
    changed = copy.copy(node)
    vars(changed).update(fields)
    return changed


def changes_of_constant(node: ast.Constant) -> Iterator[ast.AST]:
    """Numbers: one more and one less, or twice; booleans: the other; names of reductions: the opposite."""
    value = node.value
    if isinstance(value, bool):
        yield replaced(node, value=not value)
    elif isinstance(value, int):
        yield from (replaced(node, value=value + step) for step in (1, -1))
    elif isinstance(value, float):
        yield replaced(node, value=2 * value if value else 1.0)
    elif value in NAMES:
        yield replaced(node, value=NAMES[value])


def changes_of_name(node: ast.AST) -> Iterator[ast.AST]:
    """A call of the opposite, or none at all."""
    field = {ast.Attribute: "attr", ast.Name: "id", ast.keyword: "arg"}[type(node)]
    name = getattr(node, field)
    if name in NAMES and (field != "id" or name in {"min", "max", "any", "all"}):
        yield replaced(node, **{field: NAMES[name]})


def changes_of_statement(node: ast.stmt, known: set[str]) -> Iterator[ast.AST]:
    """The statement left out, unless that only leaves a name undefined; a condition turned round."""
    text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    again = isinstance(node, ast.Assign) and names_in(node.targets) <= known
    if again or (isinstance(node, ast.AugAssign | ast.If | ast.Expr) and not text):
        yield ast.copy_location(ast.Pass(), node)


def names_in(nodes: list[Any]) -> set[str]:
    """All plain names in some nodes."""
    return {part.id for node in nodes for part in ast.walk(node) if isinstance(part, ast.Name)}


def changes(node: ast.AST, known: set[str]) -> Iterator[ast.AST]:
    """Everything that may stand in a node's place."""
    yield from (other() for other in OPERATORS.get(type(node), ()))
    if isinstance(node, ast.Constant):
        yield from changes_of_constant(node)
    elif isinstance(node, ast.Attribute | ast.Name | ast.keyword):
        yield from changes_of_name(node)
    elif isinstance(node, ast.UnaryOp):
        yield node.operand
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in DROPPED:
        if not (isinstance(node.func.value, ast.Name) and node.func.value.id in {"torch", "math"}):
            yield node.func.value
    elif isinstance(node, ast.IfExp):
        yield replaced(node, body=node.orelse, orelse=node.body)
    elif isinstance(node, ast.stmt):
        yield from changes_of_statement(node, known)


def places(node: ast.AST, shown: ast.AST) -> Iterator[tuple[Any, Any, ast.AST, Any]]:
    """Every node below one, with the container and the key that hold it; nothing in annotations and messages.

    The last is what to show of a change there: the closest node around it that is more than a name or a number.
    """
    for name, value in ast.iter_fields(node):
        if name in {"annotation", "returns"}:
            continue
        held: list[Any] = list(enumerate(value)) if isinstance(value, list) else [(name, value)]
        for key, child in held:
            if isinstance(child, ast.AST) and not isinstance(child, _TEXT):
                yield (value if isinstance(value, list) else vars(node)), key, child, shown
                plain = isinstance(child, _PLAIN) or not hasattr(child, "lineno")
                yield from places(child, shown if plain else child)


def mutants(source: str, file: str) -> Iterator[Mutant]:
    """All mutants of a file.

    Args:
        source: Its text.
        file: Its name from the package.

    Yields:
        Mutants in the order of the text.
    """
    tree = ast.parse(source)
    known: set[str] = set()
    numbers = count()
    for holder, key, node, around in places(tree, tree):
        if isinstance(node, ast.FunctionDef):
            known = {argument.arg for argument in ast.walk(node.args) if isinstance(argument, ast.arg)}
        for change in changes(node, known):
            shown = node if isinstance(node, ast.stmt) else around
            before = short(shown)
            holder[key] = change
            code = compile(ast.fix_missing_locations(tree), str(PACKAGE / file), "exec")
            after = short(change if shown is node else shown)
            holder[key] = node
            yield Mutant(file, next(numbers), shown.lineno, before, after, code)
        if isinstance(node, ast.Assign):
            known |= names_in(node.targets)


def short(node: ast.AST) -> str:
    """First line of the text of a node."""
    return ast.unparse(node).strip().splitlines()[0]


class Watch:
    """A plugin that notes what each test calls and how long it takes.

    Attributes:
        tests: By the name of each test: its seconds, and the files of the package it calls, those that it imports left
            out.
    """

    def __init__(self) -> None:
        self.tests: dict[str, tuple[float, list[str]]] = {}
        self._called: set[str] = set()

    def _note(self, frame: Any, event: str, _: Any) -> None:
        if event == "call" and frame.f_code.co_name != "<module>":
            self._called.add(frame.f_code.co_filename)

    def pytest_runtest_setup(self) -> None:
        """Watch from here on."""
        self._called.clear()
        sys.setprofile(self._note)

    def pytest_runtest_teardown(self) -> None:
        """And no further."""
        sys.setprofile(None)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a test that passed."""
        if report.when == "call" and report.passed:
            called = [name.removeprefix(f"{PACKAGE}/") for name in self._called if name.startswith(f"{PACKAGE}/")]
            self.tests[report.nodeid] = report.duration, called


class Order:
    """A plugin that picks tests, and keeps the first failure.

    Args:
        tests: Names of tests in the order to run them.
    """

    def __init__(self, tests: list[str]) -> None:
        self.place = {test: place for place, test in enumerate(tests)}
        self.failed = ""

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave the others out."""
        items[:] = sorted((i for i in items if i.nodeid in self.place), key=lambda item: self.place[item.nodeid])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the name of a test that failed."""
        if report.failed:
            self.failed = report.nodeid


class Changed(SourceFileLoader):
    """Finds and loads one changed file of the package.

    Args:
        file: The file, from the package.
        code: What stands in its place.
    """

    def __init__(self, file: str, code: CodeType) -> None:
        super().__init__(module_name(file), str(PACKAGE / file))
        self.code = code

    def find_spec(self, fullname: str, *_: Any) -> ModuleSpec | None:
        """Say that this is the one who loads it."""
        return spec_from_file_location(fullname, self.path, loader=self) if fullname == self.name else None

    def exec_module(self, module: ModuleType) -> None:
        """Run the changed code."""
        exec(self.code, vars(module))  # noqa: S102


def module_name(file: str) -> str:
    """Name that a file of the package is imported by."""
    return ".".join((PACKAGE.name, *Path(file).with_suffix("").parts))


def of_file(file: str) -> list[str]:
    """What pytest is given for a file: the tests that mirror it, and its own examples."""
    path = Path(file)
    mirror = Path("tests") / path.parent / f"test_{path.stem}.py"
    return [*([str(mirror)] if (ROOT / mirror).is_file() else []), f"{PACKAGE.name}/{file}"]


def alone(task: Callable[[], Any]) -> Any:
    """Do something in a process of its own, which has imported the large packages already; "too long" after LIMIT."""
    reader, writer = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            os.close(reader)
            sink = os.open(os.devnull, os.O_WRONLY)
            os.dup2(sink, 1)
            os.dup2(sink, 2)
            answer = json.dumps(task()).encode()
            with os.fdopen(writer, "wb") as pipe:
                pipe.write(answer)
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    return json.loads(answer) if answer else "too long" if status == -signal.SIGXCPU else "crashed"


def watched(files: list[str]) -> dict[str, tuple[float, list[str]]]:
    """Run all tests that may be needed on the package as it is, see `Watch`."""
    watch = Watch()
    tests = [test for file in files for test in of_file(file)]
    if any(file.startswith("geometry/") for file in files):
        tests = [*tests, "tests/geometry"]
    if pytest.main([*PYTEST, *tests], plugins=[watch]):
        return {}
    return watch.tests


def end(mutant: Mutant, tests: list[str]) -> str:
    """Run tests on a mutant: which of them failed, "import" if there was nothing to run, or "alive"."""
    resource.setrlimit(resource.RLIMIT_CPU, (LIMIT, LIMIT + 5))
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    sys.meta_path.insert(0, Changed(mutant.file, mutant.code))
    order = Order(tests)
    status = pytest.main([*PYTEST, *dict.fromkeys(test.partition("::")[0] for test in tests)], plugins=[order])
    if status == 0:
        return "alive" if isinstance(sys.modules[module_name(mutant.file)].__loader__, Changed) else "crashed"
    return order.failed or "import"


def those_needed(file: str, known: dict[str, tuple[float, list[str]]]) -> list[str]:
    """The tests that call a file: its own before others, the quick before the slow."""
    own = tuple(f"{name}::" for name in of_file(file))
    mine = [test for test in known if test.startswith(own)]
    others = [test for test, (_, called) in known.items() if file in called and test not in mine]
    if not file.startswith("geometry/"):
        others = []
    return [*sorted(mine, key=lambda test: known[test][0]), *sorted(others, key=lambda test: known[test][0])]


def warm_up() -> None:
    """Import what the tests need and is not changed."""
    for name in ("anomalib.data", "open_clip", "torch._dynamo", "torch.export", "scipy.spatial", "torchvision"):
        import_module(name)
    import_module("anomalib.models.components")
    gc.freeze()  # the processes forked from here need not look through all this


def read(file: Path) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Results of earlier runs."""
    rows = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []
    return {(row["file"], row["number"], row["before"], row["after"]): row for row in rows}


def kind(row: dict[str, Any]) -> str:
    """How a mutant ended, as the table counts it."""
    if row["end"] in {"alive", "too long", "crashed"}:
        return str(row["end"])
    return "own test" if row["end"] == "import" or row["end"].startswith(tuple(of_file(row["file"]))) else "other test"


def report(rows: list[dict[str, Any]]) -> None:
    """Print counts by file, and the survivors."""
    console = Console(width=160)
    ends = ("own test", "other test", "too long", "crashed", "alive")
    table = Table("file", "mutants", *ends)
    for file in sorted({row["file"] for row in rows}):
        counts = Counter(kind(row) for row in rows if row["file"] == file)
        table.add_row(file, *(str(n) for n in (counts.total(), *(counts[name] for name in ends))))
    console.print(table)
    for row in rows:
        if row["end"] == "alive":
            text = f"{row['file']}:{row['line']} #{row['number']}\n  - {row['before']}\n  + {row['after']}"
            console.print(text, markup=False, highlight=False)


def main() -> None:
    """Try all mutants of the files asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", help="files or folders of the package")
    parser.add_argument("--share", type=float, default=1.0, help="share of the mutants to try, drawn at random")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("results/mutants.json"))
    asked = parser.parse_args()
    out = asked.out.absolute()
    os.chdir(ROOT)
    os.environ["OMP_NUM_THREADS"] = "1"
    paths = [p for name in asked.files for p in sorted((PACKAGE / name).rglob("*.py")) or [PACKAGE / name]]
    files = [str(path.relative_to(PACKAGE)) for path in paths if path.name != "__init__.py"]
    all_of_them = [mutant for file in files for mutant in mutants((PACKAGE / file).read_text("utf-8"), file)]
    found = [m for m in all_of_them if random.Random(f"{asked.seed} {m.key}").random() < asked.share]  # noqa: S311
    kept = read(out)
    warm_up()
    known = alone(lambda: watched(files))
    if not known or isinstance(known, str):
        sys.exit("the tests fail as the package is")
    tests = {file: those_needed(file, known) for file in files}
    if without := [file for file in files if not tests[file]]:
        sys.exit(f"no tests of {', '.join(without)}")
    out.parent.mkdir(parents=True, exist_ok=True)
    left = [mutant for mutant in found if kept.get(mutant.key, {"end": "alive"})["end"] == "alive"]
    for mutant in tqdm(left, unit="mutant"):
        kept[mutant.key] = {**mutant._asdict(), "end": alone(partial(end, mutant, tests[mutant.file]))}
        del kept[mutant.key]["code"]
        out.write_text(json.dumps(list(kept.values()), indent=1), encoding="utf-8")
    report([kept[mutant.key] for mutant in found])


if __name__ == "__main__":
    main()
