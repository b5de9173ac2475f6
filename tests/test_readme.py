# SPDX-License-Identifier: Apache-2.0
"""What the README and the pages name is there, and their numbers are the same."""

import ast
import importlib
import re
from pathlib import Path

import pytest

from anomalib_clip3dad.command import COMMANDS

PROJECT = Path(__file__).parents[1]
README = (PROJECT / "README.md").read_text()
TEXTS = {path.name: path.read_text() for path in [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]}


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_it_takes_two_minutes() -> None:
    assert len(README.split()) < 1200


def test_its_links_lead_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    assert len(links) > 20
    assert not [link for link in links if not (PROJECT / link).exists()]


@pytest.mark.parametrize("name", TEXTS)
def test_commands_and_configs_exist(name: str) -> None:
    text = "\n".join(blocks(TEXTS[name], "bash"))
    configs = set(re.findall(r"configs/[\w/]+\.yaml", text))
    assert not [config for config in configs if not (PROJECT / config).is_file()]
    assert set(re.findall(r"^clip3dad (\w+)", text, re.MULTILINE)) <= set(COMMANDS)


@pytest.mark.parametrize("name", TEXTS)
def test_python_is_python_and_its_imports_exist(name: str) -> None:
    for block in blocks(TEXTS[name], "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module:
                module = importlib.import_module(node.module)
                assert all(hasattr(module, each.name) for each in node.names)


def test_its_numbers_are_those_of_the_results() -> None:
    image, pixel = (
        [row.split("|")[3:6] for row in table.splitlines() if row.startswith("| 1 |")]
        for table in TEXTS["results.md"].split("AUPRO up to")
    )
    wanted = [
        [f"{one.strip()} / {other.strip()}" for one, other in zip(*rows, strict=True)]
        for rows in zip(image, pixel, strict=True)
    ]
    found = [re.findall(r"[\d.]+ / [\d.]+", row) for row in README.splitlines() if row.startswith("| ")]
    assert [row for row in found if len(row) == 3] == wanted
    assert len(wanted) == 8
