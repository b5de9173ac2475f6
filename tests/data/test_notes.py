# SPDX-License-Identifier: Apache-2.0
import logging

import pytest

from anomalib_clip3dad.data.notes import collected, grouped, tell


def test_a_note_is_logged_once_for_each_folder(caplog: pytest.LogCaptureFixture, tmp_path: object) -> None:
    caplog.set_level(logging.WARNING)
    for name in (f"{tmp_path}/a/1.png", f"{tmp_path}/a/2.png", f"{tmp_path}/b/1.png"):
        tell(name, f"has {len(name)}.5 pages")
    tell(f"{tmp_path}/a/3.png", "is grey")
    said = [record.getMessage().removeprefix(f"{tmp_path}/").partition(":")[0] for record in caplog.records]
    assert said == ["a/1.png", "b/1.png", "a/3.png"]


def test_what_is_collected_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    with collected() as notes:
        tell("a.png", "is grey")
        with collected() as inner:
            tell("b.png", "is grey")
        tell("c.png", "is grey")
    assert notes == [("a.png", "is grey"), ("c.png", "is grey")]
    assert inner == [("b.png", "is grey")]
    assert not caplog.records


def test_files_of_one_fault_are_one_line() -> None:
    notes = [(f"a/{number:02d}.png", f"no mask {number:02d}.png in gt") for number in range(8)]
    notes += [("b/00.png", "no mask 00.png in gt"), ("a/x.png", "is grey"), ("a/x.png", "is grey")]
    assert grouped(notes) == [
        "a/00.png: no mask 00.png in gt (8 files: 00.png, 01.png, 02.png, 03.png, 04.png, 05.png, ...)",
        "b/00.png: no mask 00.png in gt",
        "a/x.png: is grey",
    ]
