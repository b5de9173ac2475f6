# SPDX-License-Identifier: Apache-2.0
"""Each ablation's config, put on top of another one, changes what it names and nothing else."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from anomalib.cli import AnomalibCLI

from anomalib_clip3dad.clip import PROMPT_SETS

CONFIGS = Path(__file__).parents[2] / "configs"
ABLATIONS = sorted((CONFIGS / "ablations").glob("*.yaml"))


def leaves(content: Any, path: str = "") -> dict[str, Any]:
    """A config's values by their dotted names; lists are values."""
    if not isinstance(content, dict):
        return {path: content}
    return {name: value for key, below in content.items() for name, value in leaves(below, f"{path}.{key}").items()}


def read(capsys: pytest.CaptureFixture[str], *configs: Path) -> dict[str, Any]:
    """What the `anomalib train` command makes of configs, defaults included."""
    with pytest.raises(SystemExit):
        AnomalibCLI(["train", *(f"--config={config}" for config in configs), "--print_config"])
    return leaves(yaml.safe_load(capsys.readouterr().out))


@pytest.mark.parametrize("base", ["clip3dad", "toy3d"])
def test_an_ablation_changes_what_it_names(base: str, capsys: pytest.CaptureFixture[str]) -> None:
    plain = read(capsys, CONFIGS / f"{base}.yaml")
    for ablation in ABLATIONS:
        changed = read(capsys, CONFIGS / f"{base}.yaml", ablation)
        named = leaves(yaml.safe_load(ablation.read_text()))
        different = {name for name in plain.keys() | changed.keys() if plain.get(name) != changed.get(name)}
        assert different <= set(named), ablation.name
        for name, value in named.items():
            if name == ".trainer.callbacks":
                (callback,) = changed[name]
                assert callback["init_args"]["geometry"] == 0.5
            else:
                assert changed[name] == value, ablation.name


def test_all_ablations_of_the_paper_are_there() -> None:
    names = {file.stem for file in ABLATIONS}
    assert {f"prompts_{name}" for name in PROMPT_SETS} <= names
    assert {"layers_6", "layers_6_9", "layers_9_12", "layers_6_9_12", "no_views"} <= names
    assert {"views_5_9_19_27", "views_3_7_12_17_25", "views_5_9_14_18_19_27", "views_5_9_14_19_27"} <= names
    assert {"k_shot_1", "k_shot_2", "k_shot_4"} <= names
