# SPDX-License-Identifier: Apache-2.0
from mutants import mutants

SOURCE = '''"""Says 1."""

def middle(values: tuple[1, 2], low=0.5) -> 3:
    """Says 2."""
    if not values:
        raise ValueError(f"found {len(values) + 4}")
    total = sum(values)
    total = total.clamp(min=low)
    return total / len(values) < -1
'''


def test_each_change_is_one_of_code_not_of_text() -> None:
    found = [(mutant.line, mutant.before, mutant.after) for mutant in mutants(SOURCE, "middle.py")]
    assert sorted(found) == sorted(
        [
            (3, "def middle(values: tuple[1, 2], low=0.5) -> 3:", "def middle(values: tuple[1, 2], low=1.0) -> 3:"),
            (5, "if not values:", "pass"),
            (5, "if not values:", "if values:"),
            (8, "total = total.clamp(min=low)", "pass"),
            (8, "total = total.clamp(min=low)", "total = total"),
            (8, "total.clamp(min=low)", "total.clamp(max=low)"),
            (9, "total / len(values) < -1", "total / len(values) <= -1"),
            (9, "total / len(values) < -1", "total / len(values) >= -1"),
            (9, "total / len(values)", "total * len(values)"),
            (9, "total / len(values) < -1", "total / len(values) < 1"),
            (9, "total / len(values) < -1", "total / len(values) < -2"),
            (9, "total / len(values) < -1", "total / len(values) < -0"),
        ]
    )


def test_the_code_is_the_changed_one_and_the_next_starts_from_the_given_one() -> None:
    answers = {}
    for mutant in mutants("def f(x):\n    return x * 3 + 8\n", "f.py"):
        names: dict = {}
        exec(mutant.code, names)  # noqa: S102
        answers[mutant.after] = names["f"](2)
    assert answers == {
        "x * 3 - 8": -2,
        "x / 3": 2 / 3 + 8,
        "x * 4": 16,
        "x * 2": 12,
        "x * 3 + 9": 15,
        "x * 3 + 7": 13,
    }
