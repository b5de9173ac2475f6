# SPDX-License-Identifier: Apache-2.0
"""The command as a user types it."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.data.conftest import write_parts

pytestmark = pytest.mark.slow


def clip3dad(*arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [Path(sys.executable).parent / "clip3dad", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603


def test_exit_status_tells_of_faults(tmp_path: Path) -> None:
    write_parts(tmp_path / "good", 2)
    ended = clip3dad("check", tmp_path / "good")
    assert ended.returncode == 0, ended.stderr
    (tmp_path / "good/xyz/001.npy").unlink()
    ended = clip3dad("check", tmp_path / "good")
    assert ended.returncode == 1
    assert "001.png: no 3D file of that name" in ended.stdout


def test_bad_input_is_one_line(tmp_path: Path) -> None:
    ended = clip3dad("check", tmp_path / "nowhere")
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert ended.stderr.strip().splitlines()[-1].startswith(f"error: {tmp_path / 'nowhere'}: no such folder")
