# SPDX-License-Identifier: Apache-2.0
"""Trained weights to start from."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from anomalib_clip3dad.errors import InputError, MissingFileError
from anomalib_clip3dad.models import GsClip
from anomalib_clip3dad.models.gs_clip.trained import SHIPPED

QUIET: dict[str, Any] = {"evaluator": False, "visualizer": False, "num_points": 1024, "vv_from": None}


def test_weights_of_a_file_are_taken_and_the_towers_are_not(tiny_clip: str, tmp_path: Path) -> None:
    trained = GsClip(tiny_clip, None, **QUIET, seed=1)
    file = tmp_path / "trained.pt"
    torch.save({n: v for n, v in trained.state_dict().items() if not n.startswith("model.tower.")}, file)
    fresh, loaded = GsClip(tiny_clip, None, **QUIET), GsClip(tiny_clip, None, **QUIET, trained=str(file))
    own = trained.state_dict()
    for name, value in loaded.state_dict().items():
        torch.testing.assert_close(value, own[name], rtol=0, atol=0, equal_nan=True)
    assert not torch.equal(fresh.model.prompts.context[0], loaded.model.prompts.context[0])


def test_files_that_do_not_fit_are_refused(tiny_clip: str, tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="no such checkpoint"):
        GsClip(tiny_clip, None, **QUIET, trained=str(tmp_path / "nothing.ckpt"))
    torch.save(GsClip(tiny_clip, None, **QUIET, depth_stream=False).state_dict(), tmp_path / "stage1.pt")
    with pytest.raises(InputError, match=r"model\.low_rank\.down\.0\.weight is not in it"):
        GsClip(tiny_clip, None, **QUIET, trained=str(tmp_path / "stage1.pt"))


def test_the_package_ships_what_its_config_asks_for() -> None:
    """Small, with a threshold, and more than what the training starts from."""
    content = yaml.safe_load((Path(__file__).parents[3] / "configs" / "zero_shot.yaml").read_text())
    settings = content["model"]["init_args"]
    shipped = GsClip(**settings, evaluator=False, visualizer=False)
    start = GsClip(**(settings | {"trained": None}), evaluator=False, visualizer=False)
    assert SHIPPED["toy3d"].stat().st_size < 15e6
    assert shipped.has_threshold
    assert not start.has_threshold
    assert shipped.model.refinement.join.weight.any()
    assert not start.model.refinement.join.weight.any()  # stage 2 starts with stage 1's result


def test_the_config_that_trained_it_is_the_same_model() -> None:
    configs = [
        yaml.safe_load((Path(__file__).parents[3] / "configs" / f"{name}.yaml").read_text())["model"]["init_args"]
        for name in ("zero_shot", "gs_clip_toy3d")
    ]
    shipped, trained = ({n: v for n, v in each.items() if not n.endswith("_steps")} for each in configs)
    assert shipped.pop("trained") == "toy3d"
    assert shipped == trained
