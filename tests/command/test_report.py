# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from anomalib_clip3dad.command.report import report


def test_the_page_is_in_the_folder_of_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "scores.csv").write_text("file,score,label,kind\nnut/000.png,0.5,good,\n")
    report(tmp_path)
    assert capsys.readouterr().out == f"Report: {tmp_path / 'report.html'}\n"
    assert '"name":"nut/000"' in (tmp_path / "report.html").read_text()
