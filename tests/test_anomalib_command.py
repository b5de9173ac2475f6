# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from anomalib_clip3dad.anomalib_command import names_this_package, suggestion, wrong_value


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


MODEL = """Parser key "model":
  Does not validate against any of the Union subtypes
  Errors:
    - Expected a <class 'NoneType'>
    - Problem with given class_path 'anomalib_clip3dad.models.Clip3dAd':
        Parser key "{}":
          {}
  Given value type: <class 'jsonargparse._util.NestedArg'>
  Given value: NestedArg(key='{}', val='x')"""
LIST = """Does not validate against any of the Union subtypes
          Errors:
            - Expected a <class 'NoneType'>
            - Expected a <class 'collections.abc.Sequence'>
          Given value type: <class 'str'>
          Given value: foo"""


@pytest.mark.parametrize(
    ("name", "reason", "line"),
    [
        ("layers", LIST, "layers=foo: a list or null is needed"),
        ("map_temperature", "Expected a <class 'float'>. Got value: hot", "map_temperature=hot: a number is needed"),
        ("of_another_package", LIST, None),
        ("layers", "Expected a <class 'torch.Tensor'>. Got value: foo", None),  # better a page than half of the truth
    ],
)
def test_a_value_of_a_wrong_type(name: str, reason: str, line: str | None) -> None:
    assert wrong_value(MODEL.format(name, reason, name)) == line


def test_only_commands_that_name_this_package_are_ours(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours.yaml", tmp_path / "theirs.yaml"
    ours.write_text("model:\n  class_path: anomalib_clip3dad.models.Clip3dAd\n")
    theirs.write_text("model: Patchcore\n")
    assert names_this_package(["train", "--config", str(ours)])
    assert names_this_package(["train", f"--config={ours}"])
    assert names_this_package(["train", "--data", "anomalib_clip3dad.data.Toy3D"])
    assert not names_this_package(["train", "--config", str(theirs)])
    assert not names_this_package(["train", "--config", str(tmp_path / "none.yaml")])
