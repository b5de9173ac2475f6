# SPDX-License-Identifier: Apache-2.0
"""The study of GS-CLIP on the smallest of parts."""

import argparse
from pathlib import Path
from typing import Any

import gs_clip
import pytest
import torch
from rich.console import Console

from anomalib_clip3dad.models import GsClip


def test_table_averages_over_tested_then_over_trained_categories() -> None:
    def of(value: float) -> dict[str, float]:
        names = ("object_AUROC", "views_AUROC", "pixel_AUROC", "pixel_AUPRO")
        return dict.fromkeys(names, value)

    results = {"whole": {"gear": {"ring": of(0.5), "knob": of(0.7)}, "ring": {"gear": of(0.9), "knob": of(0.9)}}}
    console = Console(width=120, record=True)
    console.print(gs_clip.table(results, ["gear", "ring", "knob"], "toy"))
    assert "0.750 ± 0.212" in console.export_text()


def test_variants_are_arguments_of_the_model(tiny_clip: str) -> None:
    for settings in gs_clip.VARIANTS.values():
        GsClip(tiny_clip, None, vv_from=None, evaluator=False, visualizer=False, **settings)


@pytest.mark.slow
def test_reading_training_and_judging_agree_with_the_model(
    tiny_clip: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = gs_clip.parts_of
    small: dict[str, Any] = {"num_good": 2, "num_defects": 1, "size": (96, 96), "num_train": 1, "num_validation": 1}
    monkeypatch.setattr(gs_clip, "parts_of", lambda category, root: real(category, root, **small))
    model = GsClip(tiny_clip, None, vv_from=2, num_points=1024, post_processor=False, evaluator=False, visualizer=False)
    arguments = argparse.Namespace(root=str(tmp_path), seed=0, stage1_steps=1, stage2_steps=1)
    samples = gs_clip.read(model.eval(), "gear", arguments)
    gs_clip.train(model, samples.known, arguments, "")
    found = gs_clip.evaluate(model, samples)
    data = real("gear", str(tmp_path), **small)
    data.setup()
    with torch.inference_mode():
        scores = [model(item.image[None], item.depth_map[None]).pred_score for item in data.test_data]
    faulty = samples.known.mask.any(dim=1)
    score = torch.cat(scores)
    assert found["object_AUROC"] == gs_clip.auroc(score[~faulty], score[faulty])
