# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from anomalib_clip3dad.command.check import check
from anomalib_clip3dad.command.toy import toy


def test_toy_parts_pass_the_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert not toy(tmp_path, "knob", good=1, defects=1)
    assert str(tmp_path / "knob") in capsys.readouterr().out
    assert len(list(tmp_path.glob("knob/train/good/rgb/*.png"))) == 1
    assert check(tmp_path / "knob") == []


def test_an_unknown_category_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="category='bolt': give one of biscuit"):
        toy(tmp_path, "bolt")
