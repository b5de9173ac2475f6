# SPDX-License-Identifier: Apache-2.0
"""Who reads a docstring of a tensor function learns the shapes."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "anomalib_clip3dad"
AXIS = r"\|?(?:\*?[A-Za-z_]{1,6}[0-9]?|\d+|\.\.\.|\w+ ?[-+*/] ?\w+|(?:\d|[A-Za-z]{1,2}) [A-Za-z]{1,2}|\w+ or \w+)\|?"
SHAPE = re.compile(rf"\({AXIS}(?:,|(?:, {AXIS})+)\)")  # (B, 3, H, W), (N,), (B, |L|, N_p, D), (2 B, v or 1, H W)
ELSEWHERE = re.compile(r"\b(?:as|of|see) `[\w.]+`|those of `", re.IGNORECASE)  # "arguments are those of `forward`"
STATE_DICTS = {"imagenet_weights", "read_state_dict", "weights_hash"}  # tensors of any shape by name


def tensor_functions() -> Iterator[tuple[str, str]]:
    """Place and docstring of every public function and method that takes or gives tensors."""
    for file in sorted(PACKAGE.rglob("*.py")):
        for place, node in public_functions(ast.parse(file.read_text())):
            arguments = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
            annotations = [*(argument.annotation for argument in arguments), node.returns]
            tensors = any(each and re.search(r"\bTensor\b", ast.unparse(each)) for each in annotations)
            if tensors and node.name not in STATE_DICTS:
                yield (
                    f"{file.relative_to(PACKAGE.parent)}:{node.lineno} {place}{node.name}",
                    ast.get_docstring(node) or "",
                )


def public_functions(tree: ast.AST, place: str = "") -> Iterator[tuple[str, ast.FunctionDef]]:
    """Functions of a module and methods of its classes, but for those with an underscore."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from public_functions(node, f"{node.name}.")
        elif isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield place, node


def test_tensor_functions_say_their_shapes() -> None:
    functions = list(tensor_functions())
    silent = [place for place, text in functions if not SHAPE.search(text) and not ELSEWHERE.search(text)]
    assert len(functions) > 100
    assert len(silent) <= 0.05 * len(functions), "\n".join(silent)


def test_what_is_no_shape_is_not_taken_for_one() -> None:
    assert not any(
        SHAPE.search(text) for text in ("in metres (x right, y down)", "(Eq. 5, 6)", "of 1 (one)", "f(x)(y)")
    )
    for text in ("(B, 3, H, W)", "(N,)", "(B, |L|, N_p, D)", "`(B, v or 1, 3 or 1, H W)`", "(B, *size)", "(..., C)"):
        assert SHAPE.search(text), text
