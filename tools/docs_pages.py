# SPDX-License-Identifier: Apache-2.0
"""Pages of the documentation that are made of files outside docs/; a hook of mkdocs.yml."""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
CHANGELOG, GUIDE = "changelog.md", "add_a_model.md"


def on_files(files: Files, *, config: Any) -> Files:
    """Add the changelog and the guide to new models.

    Args:
        files: Those of docs/.
        config: That of mkdocs.

    Returns:
        All of them.
    """
    for name, text in ((CHANGELOG, changelog()), (GUIDE, guide())):
        files.append(File.generated(config, name, content=text))
    return files


def changelog() -> str:
    """Read CHANGELOG.md, with links as from docs/."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    return text.replace("](docs/", "](").replace("](CONTRIBUTING.md)", f"]({GUIDE})")


def guide() -> str:
    """Read what CONTRIBUTING.md says of new models, data sets and paints."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    sections = re.split(r"^(?=## )", text, flags=re.MULTILINE)
    return "# How to add a model\n\n" + "".join(each for each in sections if each.startswith("## A new "))
