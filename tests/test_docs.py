# SPDX-License-Identifier: Apache-2.0
"""The documentation as pages: complete, without a broken link, and true where it quotes the package."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).parents[1]
ELSEWHERE = re.compile(r"<(?:script|link|img)[^>]+(?:src|href)=\"?(https?://[^\" >]+)")


def test_every_page_is_in_the_navigation() -> None:
    pages = set(re.findall(r"[\w/]+\.md", yaml.safe_dump(yaml.safe_load((PROJECT / "mkdocs.yml").read_text())["nav"])))
    made = {"changelog.md", "add_a_model.md"}  # tools/docs_pages.py
    assert pages == {page.name for page in (PROJECT / "docs").glob("*.md")} | made


def test_messages_of_the_troubleshooting_are_those_of_the_package() -> None:
    source = "".join(file.read_text() for file in (PROJECT / "anomalib_clip3dad").rglob("*.py"))
    page = (PROJECT / "docs/troubleshooting.md").read_text()
    messages = re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE)
    assert len(messages) > 25
    assert not [message for message in messages if message not in source]


@pytest.mark.slow
def test_pages_are_built_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    ended = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)  # noqa: S603
    assert ended.returncode == 0, ended.stderr[-3000:]
    pages = list((tmp_path / "site").glob("*.html"))
    assert len(pages) > 18
    assert not [link for page in pages for link in ELSEWHERE.findall(page.read_text(encoding="utf-8"))]
    assert "AnomalySynthesis" in (tmp_path / "site/api.html").read_text(encoding="utf-8")
