# SPDX-License-Identifier: Apache-2.0
from pathlib import Path
from typing import Any

import pytest
import yaml

from anomalib_clip3dad.command.configs import configs, find_configs
from anomalib_clip3dad.errors import InputError

CONFIGS = Path(__file__).parents[2] / "configs"


def test_one_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("my_parts", "offline.yaml", "configs/benchmark/quick.yaml"):
        configs(name)
        file = CONFIGS / f"{name.removesuffix('.yaml').removeprefix('configs/')}.yaml"
        assert capsys.readouterr().out == file.read_text()


def test_all_are_written_and_none_over_another(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "configs" / "my_parts.yaml"
    mine.parent.mkdir()
    mine.write_text("mine")
    configs()  # tests run in an empty folder
    written = {file.relative_to(tmp_path / "configs") for file in (tmp_path / "configs").rglob("*.yaml")}
    assert written == {file.relative_to(CONFIGS) for file in CONFIGS.rglob("*.yaml")}
    assert mine.read_text() == "mine"
    assert "left unchanged: my_parts.yaml" in capsys.readouterr().out


def test_unknown_ones_are_named() -> None:
    with pytest.raises(InputError, match=r"name='my_part': no such config; did you mean my_parts\? There are b"):
        configs("my_part")


def test_they_are_found_in_a_checkout() -> None:
    assert find_configs() == CONFIGS


@pytest.mark.parametrize("name", ["my_parts", "toy3d", "benchmark/quick"])
def test_our_settings_are_the_same_wherever_they_stand(name: str) -> None:
    def settings(config: str) -> dict[str, Any]:
        content = yaml.safe_load((CONFIGS / f"{config}.yaml").read_text())
        return (content["models"][0] if "models" in content else content["model"])["init_args"]

    ours = {key: value for key, value in settings("clip3dad_tuned").items() if key not in {"clip_model", "pretrained"}}
    assert ours == {key: settings(name).get(key) for key in ours}
