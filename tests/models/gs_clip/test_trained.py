# SPDX-License-Identifier: Apache-2.0
"""Trained weights to start from."""

from pathlib import Path
from typing import Any

import pytest
import torch

from anomalib_clip3dad.errors import InputError, MissingFileError
from anomalib_clip3dad.models import GsClip

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
