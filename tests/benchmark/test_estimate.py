# SPDX-License-Identifier: Apache-2.0
from importlib import import_module
from pathlib import Path

from anomalib_clip3dad.benchmark.estimate import RULES, START_SECONDS, estimate

from .finished import CLIP3D, finish, grid


def test_estimate(tmp_path: Path) -> None:
    jobs = grid(("bagel", "tire"), seeds=[0], trainer={"max_steps": 10}, k_shot=[1, 2])
    finish(jobs[0], tmp_path, 0.5)
    costs = estimate(jobs, tmp_path)
    by_name = {str(job): cost for job, cost in zip(jobs, costs, strict=True)}
    assert by_name["CLIP3D-AD, bagel, 1-shot, seed 0"].basis == "finished"
    alike = by_name["CLIP3D-AD, tire, 1-shot, seed 0"]
    assert (alike.seconds, alike.memory, alike.basis) == (START_SECONDS + 15, 2**30, "similar jobs done: 1")
    guess = by_name["CLIP3D-AD, bagel, 2-shot, seed 0"]
    assert guess.basis.startswith("guess")
    rule = RULES[CLIP3D["class_path"]]
    assert guess.seconds == START_SECONDS + 10 * 4 * rule.step + 120 * rule.sample
    assert by_name["other, tire, 2-shot, seed 0"].seconds is None
    (elsewhere,) = estimate(grid(("gear",), seeds=[0], models=[CLIP3D], data={"class_path": "Toy3D"}), tmp_path)
    assert elsewhere.seconds is None
    (by_itself,) = estimate(grid(("bagel",), seeds=[3], models=[CLIP3D]), tmp_path / "none")
    assert by_itself.seconds == START_SECONDS + 200 * 4 * rule.step + 120 * rule.sample


def test_guesses_are_of_classes_that_there_are() -> None:
    for class_path in RULES:
        module, _, name = class_path.rpartition(".")
        assert hasattr(import_module(module), name)
