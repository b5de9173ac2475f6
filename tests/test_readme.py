# SPDX-License-Identifier: Apache-2.0
"""What the README names is there, and its numbers are those of the results."""

import re
from pathlib import Path

PROJECT = Path(__file__).parents[1]
README = (PROJECT / "README.md").read_text()


def test_it_takes_two_minutes() -> None:
    assert len(README.split()) < 1200


def test_its_links_lead_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    assert len(links) > 20
    assert not [link for link in links if not (PROJECT / link).exists()]


def test_its_numbers_are_those_of_the_results() -> None:
    image, pixel = (
        [row.split("|")[3:6] for row in table.splitlines() if row.startswith("| 1 |")]
        for table in (PROJECT / "docs/results.md").read_text().split("AUPRO up to")
    )
    wanted = [
        [f"{one.strip()} / {other.strip()}" for one, other in zip(*rows, strict=True)]
        for rows in zip(image, pixel, strict=True)
    ]
    found = [re.findall(r"[\d.]+ / [\d.]+", row) for row in README.splitlines() if row.startswith("| ")]
    assert [row for row in found if len(row) == 3] == wanted
    assert len(wanted) == 8
