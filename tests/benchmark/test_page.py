# SPDX-License-Identifier: Apache-2.0
import base64
import re
from html.parser import HTMLParser
from pathlib import Path

from anomalib_clip3dad.benchmark.page import write_page
from anomalib_clip3dad.benchmark.report import write_report

from .finished import finish, grid


class Cells(HTMLParser):
    """The texts of all cells, row by row."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.inside = False

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002
        if tag == "tr":
            self.rows.append([])
        self.inside = tag in {"td", "th"}

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.rows[-1].append(data)

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag not in {"td", "th"}


def test_the_page_of_a_grid_holds_its_tables_and_chart(tmp_path: Path) -> None:
    jobs = grid(("bagel", "tire"))
    for job in jobs:
        finish(job, tmp_path / "jobs", 0.75)
    write_report(jobs, tmp_path / "jobs", {}, tmp_path / "paper")
    page = (tmp_path / "paper/report.html").read_text(encoding="utf-8")
    cells = Cells()
    cells.feed(page)
    assert ["1", "CLIP3D-AD", "75.0±0.0", "75.0±0.0", "75.0±0.0"] in cells.rows
    assert ["1", "published", "91.1", "57.4", "-"] in cells.rows
    (chart,) = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert base64.b64decode(chart) == (tmp_path / "paper/report.png").read_bytes()
    assert not re.findall(r'(?:src|href)="(?!data:)', page)  # nothing is loaded from elsewhere


def test_names_are_no_markup(tmp_path: Path) -> None:
    folder = tmp_path / "a&b"
    folder.mkdir()
    page = write_page(folder, "| model |\n| --- |\n| <script>alert(1)</script> |\n").read_text(encoding="utf-8")
    assert "<h1>a&amp;b</h1>" in page
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<img" not in page  # no chart, nothing was finished
