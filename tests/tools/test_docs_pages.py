# SPDX-License-Identifier: Apache-2.0
import re
from pathlib import Path

from docs_pages import changelog, guide

DOCS = Path(__file__).parents[2] / "docs"


def test_links_of_the_changelog_lead_to_pages() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", changelog())
    assert "plus.md" in links
    assert "add_a_model.md" in links
    assert all((DOCS / link).is_file() or link == "add_a_model.md" for link in links)


def test_the_guide_has_the_model_and_nothing_of_the_rest() -> None:
    assert "class MeanNormals" in guide()
    assert re.findall(r"^#+ .*", guide(), re.MULTILINE) == [
        "# How to add a model",
        "## A new model",
        "## A new data set",
        "## A new view paint",
    ]
