# SPDX-License-Identifier: Apache-2.0
import hashlib
import json
from collections.abc import Callable
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
import yaml

from anomalib_clip3dad.benchmark.grid import Job, make_jobs
from anomalib_clip3dad.benchmark.published import CATEGORIES, published, published_methods
from anomalib_clip3dad.benchmark.summary import label
from anomalib_clip3dad.clip import PROMPT_SETS
from anomalib_clip3dad.errors import InputError

from .conftest import PATCHCORE

CONFIGS = Path(__file__).parents[2] / "configs" / "benchmark"
JobsOf = Callable[..., list[Job]]


def test_every_combination_once(jobs_of: JobsOf) -> None:
    other = PATCHCORE | {"name": "other", "init_args": {}}
    jobs = jobs_of(categories=["gear", "ring"], k_shot=[1, 2], seeds=[0, 1], models=[PATCHCORE, other])
    assert len(jobs) == len({job.key for job in jobs}) == 16
    assert [job.seed for job in jobs] == [0] * 8 + [1] * 8


def test_model_goes_over_what_holds_for_all(jobs_of: JobsOf) -> None:
    model = PATCHCORE | {"trainer": {"max_epochs": 2}, "data": {"eval_batch_size": 1}}
    (job,) = jobs_of(models=[model], trainer={"max_epochs": 1, "accelerator": "cpu"})
    assert job.trainer == {"max_epochs": 2, "accelerator": "cpu"}
    assert job.data_init_args["eval_batch_size"] == 1


def test_key_is_of_what_the_result_depends_on(jobs_of: JobsOf) -> None:
    (job,) = jobs_of()
    assert job.key == jobs_of(models=[PATCHCORE | {"name": "renamed", "published": "clip3d_ad/Ours"}])[0].key
    for changed in ({"k_shot": [2]}, {"seeds": [1]}, {"evaluation_size": "native"}, {"trainer": {}}):
        assert job.key != jobs_of(**changed)[0].key


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": []}, "models: nothing given"),
        ({"seeds": [0, 0]}, "seeds: 0 is there twice"),
        ({"models": [PATCHCORE, PATCHCORE]}, "models: 'PatchCore' is there twice"),
        ({"models": [PATCHCORE | {"init_arg": {}}]}, "models, PatchCore: unknown 'init_arg'; did you mean init_args"),
        ({"models": [{"name": "a"}]}, "models, a: class_path is missing"),
        ({"data": {"root": "x"}}, "data: class_path is missing"),
        ({"data": None}, "data: class_path is missing"),
        ({"k_shot": [0]}, "k_shot: found 0"),
        ({"evaluation_size": 0}, "evaluation_size=0"),
        ({"models": [PATCHCORE | {"init_args": [1]}]}, r"models, PatchCore: init_args is \[1\]; it needs names"),
        (
            {"models": [PATCHCORE | {"published": "clip3d_ad/Our"}]},
            "published 'clip3d_ad/Our'; did you mean clip3d_ad/Ours",
        ),
        ({"trainer": {"callbacks": []}}, "trainer: callbacks cannot be given"),
        ({"training_categories": []}, "training_categories: nothing given"),
        ({"training_categories": ["a", "a"]}, "training_categories: 'a' is there twice"),
        ({"training_categories": ["a"]}, r"k_shot: found \[1\]; with training_categories no normal part is given"),
        ({"training_categories": ["gear"], "k_shot": [0]}, "categories: gear is trained on, and there is no other"),
    ],
)
def test_mistakes_are_named(jobs_of: JobsOf, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        jobs_of(**changes)


def test_random_weights_are_told() -> None:
    def model(**init_args: Any) -> bool:
        entry = {"name": "a", "class_path": "b", "init_args": init_args}
        return make_jobs({"class_path": "d"}, ["gear"], [1], [0], [entry])[0].is_random

    assert model(pretrained=None)
    assert model(pre_trained=False)
    assert not model(pre_trained=False, backbone_weights="file")
    assert not model(pretrained="small")
    assert not model()


def test_of_the_quick_grid_cfm_alone_has_random_weights() -> None:
    settings = yaml.safe_load((CONFIGS / "quick.yaml").read_text())
    settings.pop("name")
    labels = {label(job) for job in make_jobs(**settings)}
    assert {name for name in labels if "random" in name} == {"CFM (random weights)"}
    assert {"PatchCore", "BTF, RGB and FPFH", "LSFA", "WinCLIP", "CLIP3D-AD"} < labels


@pytest.mark.parametrize("config", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_configs_are_grids(config: Path) -> None:
    settings = yaml.safe_load(config.read_text())
    assert settings.pop("name") == config.stem
    jobs = make_jobs(**settings)
    if config.stem in {"quick", "gs_clip"}:
        return
    assert len({job.category for job in jobs}) == 10
    assert {job.k_shot for job in jobs} == {1, 2, 4}
    # whoever claims to be in the paper is there
    for job in jobs:
        assert job.published is None or published(job.published, job.k_shot, "mean", "image_AUROC")


@pytest.mark.parametrize("config", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_configs_name_classes_and_arguments_that_there_are(config: Path) -> None:
    settings = yaml.safe_load(config.read_text())
    settings.pop("name")
    for job in make_jobs(**settings):
        for class_path, given in ((job.class_path, job.init_args), (job.data_class_path, job.data_init_args)):
            module, _, name = class_path.rpartition(".")
            kinds = [kind for kind in getattr(import_module(module), name).__mro__ if "__init__" in vars(kind)]
            assert set(given) <= {argument for kind in kinds for argument in signature(kind).parameters}


def test_paper_grids_share_the_full_model() -> None:
    def keys(name: str) -> set[str]:
        settings = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())
        settings.pop("name")
        return {job.key for job in make_jobs(**settings)}

    assert len(keys("paper_table1_2") & keys("ablations")) == 150


def test_ablations_change_one_thing_and_all_of_the_paper_are_there() -> None:
    settings = yaml.safe_load((CONFIGS / "ablations.yaml").read_text())
    common, entries = settings["model"]["init_args"], settings["models"]
    assert all(len(entry.get("init_args", {})) == 1 for entry in entries[1:])
    changed = {str(value) for entry in entries for value in entry.get("init_args", {}).values()}
    assert set(PROMPT_SETS) - {"cpe"} <= changed
    of_tables = {method.removeprefix("clip3d_ad/") for method in published_methods()}
    settled = {"{6, 9, 12}", "{5, 9, 14, 19, 27}", "w Multi-view"}  # three names of the full model
    named = {entry.get("published", "").removeprefix("clip3d_ad/") for entry in entries}
    assert {name for name in of_tables if name.startswith(("{", "w"))} - settled <= named
    settings.pop("name")
    for job, entry in zip(
        make_jobs(**settings | {"categories": ["rope"], "k_shot": [1], "seeds": [0]}), entries, strict=True
    ):
        assert job.init_args == common | entry.get("init_args", {})


def test_a_part_of_a_grid(jobs_of: JobsOf) -> None:
    models = [PATCHCORE | {"name": name} for name in ("layers 1", "layers 2", "views")]
    assert [job.name for job in jobs_of(models=models, only=["layers*"])] == ["layers 1", "layers 2"]
    assert [job.name for job in jobs_of(models=models, only=["views", "layers 2"])] == ["layers 2", "views"]
    with pytest.raises(InputError, match=r"only: no model of the grid is called 'layer'; there are layers 1, layers 2"):
        jobs_of(models=models, only=["layer"])


def test_training_categories_are_an_axis_and_never_test_themselves(jobs_of: JobsOf) -> None:
    categories = ["gear", "ring", "knob"]
    jobs = jobs_of(categories=categories, training_categories=["ring", "gear"], k_shot=[0], seeds=[0, 1])
    assert [(job.seed, job.category, job.tested) for job in jobs] == [
        (seed, *of_one) for seed in (0, 1) for of_one in (("ring", ("gear", "knob")), ("gear", ("ring", "knob")))
    ]
    assert len({job.key for job in jobs}) == 4
    assert str(jobs[0]) == "PatchCore, trained on ring, seed 0"


def test_jobs_that_train_and_test_one_category_keep_their_keys(jobs_of: JobsOf) -> None:
    """Or finished jobs of earlier versions would run again."""
    (job,) = jobs_of()
    settings = {name: value for name, value in job._asdict().items() if name not in {"name", "published", "tested"}}
    assert job.key == hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
    assert Job(**json.loads(json.dumps(job._asdict()))).key == job.key
    (other,) = jobs_of(categories=["gear", "ring"], training_categories=["gear"], k_shot=[0])
    assert Job(**json.loads(json.dumps(other._asdict()))).key == other.key != other._replace(tested=()).key


def test_gs_clips_protocol() -> None:
    settings = yaml.safe_load((CONFIGS / "gs_clip.yaml").read_text())
    settings.pop("name")
    jobs = make_jobs(**settings)
    assert {job.category for job in jobs} == {"carrot", "cookie", "dowel"}
    for job in jobs:
        assert {job.category, *job.tested} == set(CATEGORIES)
        assert len(job.tested) == 9
        assert published(job.published, job.k_shot, "mean", "image_AUROC") == 83.6
