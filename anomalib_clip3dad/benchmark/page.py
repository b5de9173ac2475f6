# SPDX-License-Identifier: Apache-2.0
"""The report of a grid as one HTML file that needs no network."""

import base64
import html
from pathlib import Path

from markdown_it import MarkdownIt

NAME = "report.html"
_STYLE = """
:root { color-scheme: light dark; --line: #8884; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 0 auto; max-width: 1400px; padding: 1rem; }
h1 { font-size: 1.3rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
section { overflow-x: auto; }
table { border-collapse: collapse; }
th, td { border-bottom: 1px solid var(--line); padding: .2rem .8rem; text-align: right; white-space: nowrap; }
th:nth-child(2), td:nth-child(2) { text-align: left; }
tbody tr:hover { background: var(--line); }
img { max-width: 100%; background: white; }
"""


def write_page(folder: Path, text: str) -> Path:
    """Write the tables and the chart of a grid as one page.

    Args:
        folder: Folder of the grid; `report.png` in it is the chart, if it is there.
        text: The tables, Markdown.

    Returns:
        Path of the page.
    """
    title = html.escape(folder.name)
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    body = body.replace("<table>", "<section><table>").replace("</table>", "</table></section>")
    chart = folder / "report.png"
    if chart.is_file():
        data = base64.b64encode(chart.read_bytes()).decode()
        body += f'<h2>Chart</h2>\n<img alt="bars for each model" src="data:image/png;base64,{data}">\n'
    head = '<meta charset="utf-8">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    head += f"<title>{title}</title>\n<style>{_STYLE}</style>\n"
    page = f'<!doctype html>\n<html lang="en">\n{head}<h1>{title}</h1>\n{body}</html>\n'
    (folder / NAME).write_text(page, encoding="utf-8")
    return folder / NAME
