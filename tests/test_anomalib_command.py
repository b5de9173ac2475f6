# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from anomalib_clip3dad.anomalib_command import names_this_package, suggestion


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("Option 'k_shots' is not accepted", "k_shots: no such argument; did you mean k_shot?"),
        ("Key 'model.init_args.fusoin' is not expected", "fusoin: no such argument; did you mean fusion?"),
        ("given NestedArg(key='normal_dirs', val='x')", "normal_dirs: no such argument; did you mean normal_dir?"),
        ("Option 'k_shot' is not accepted", None),  # it is one, of another class
        ("Option 'zzz' is not accepted", None),
        ("something else is wrong", None),
    ],
)
def test_a_misspelt_argument(message: str, line: str | None) -> None:
    assert suggestion(message) == line


def test_only_commands_that_name_this_package_are_ours(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours.yaml", tmp_path / "theirs.yaml"
    ours.write_text("model:\n  class_path: anomalib_clip3dad.models.Clip3dAd\n")
    theirs.write_text("model: Patchcore\n")
    assert names_this_package(["train", "--config", str(ours)])
    assert names_this_package(["train", f"--config={ours}"])
    assert names_this_package(["train", "--data", "anomalib_clip3dad.data.Toy3D"])
    assert not names_this_package(["train", "--config", str(theirs)])
    assert not names_this_package(["train", "--config", str(tmp_path / "none.yaml")])
