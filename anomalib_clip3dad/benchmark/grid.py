# SPDX-License-Identifier: Apache-2.0
"""Grids: models x categories x k x seeds, or models x training categories x seeds, as a list of jobs."""

import fnmatch
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from itertools import product
from typing import Any, Literal, NamedTuple

from anomalib_clip3dad.benchmark.published import published_methods
from anomalib_clip3dad.errors import InputError

EvaluationSize = int | Literal["native"]
USUAL_BATCH = 4  # default of FewShotDataModule

_OF_A_MODEL = ("name", "class_path", "init_args", "trainer", "data", "published")
_OF_DATA = ("class_path", "init_args")
_MAPPINGS = {"init_args", "trainer", "data"}


class Job(NamedTuple):
    """One training and test of one model.

    Attributes:
        name: Name of the model in the tables.
        published: Its name in a paper's tables, if it is there: PAPER/METHOD.
        class_path: Class of the model.
        init_args: Arguments of the model.
        trainer: Arguments of anomalib's Engine.
        data_class_path: Class of the data module.
        data_init_args: Arguments of the data module except the next three.
        category: Category of the data set; trained on and tested, or trained on alone if others are tested.
        k_shot: Number of normal parts to train on; 0 if others are tested, of which there are none.
        seed: Seed of the shots and of all random draws in training.
        evaluation_size: Height and width at which pixels are evaluated, or "native" for the size of the mask files.
        tested: Categories to test on if the model trains on labelled samples of another (`AuxiliaryDataModule`).
    """

    name: str
    published: str | None
    class_path: str
    init_args: dict[str, Any]
    trainer: dict[str, Any]
    data_class_path: str
    data_init_args: dict[str, Any]
    category: str
    k_shot: int
    seed: int
    evaluation_size: EvaluationSize
    tested: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Fingerprint of the job's settings, 16 hexadecimal digits; names do not count."""
        settings = {name: value for name, value in self._asdict().items() if name not in {"name", "published"}}
        if not self.tested:  # as before there was such a setting
            del settings["tested"]
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def is_random(self) -> bool:
        """Whether the model runs with random weights, `pretrained: null` or `pre_trained: false`."""
        given = self.init_args
        by_flag = given.get("pre_trained") is False and not given.get("backbone_weights")
        return by_flag or given.get("pretrained", "given") is None

    def __str__(self) -> str:
        category = f"trained on {self.category}" if self.tested else f"{self.category}, {self.k_shot}-shot"
        return f"{self.name}, {category}, seed {self.seed}"


def make_jobs(
    data: Mapping[str, Any] | None,
    categories: Sequence[str],
    k_shot: Sequence[int],
    seeds: Sequence[int],
    models: Sequence[Mapping[str, Any]],
    trainer: Mapping[str, Any] | None = None,
    evaluation_size: EvaluationSize = 240,
    model: Mapping[str, Any] | None = None,
    only: Sequence[str] | None = None,
    training_categories: Sequence[str] | None = None,
) -> list[Job]:
    """Expand a grid into jobs.

    Args:
        data: `class_path` and `init_args` of a data module that takes category, k_shot and shot_seed.
        categories: Categories of the data set.
        k_shot: Numbers of normal parts to train on, each at least 1; [0] with `training_categories`.
        seeds: Seeds; each draws other shots and trains again.
        models: Models, each with `name` and `class_path`, and optionally `init_args`, `trainer` and `data` (arguments
            that override those for all models) and `published`, its name in a paper's tables, PAPER/METHOD.
        trainer: Arguments of anomalib's Engine for all models.
        evaluation_size: Height and width at which pixels are evaluated, or "native".
        model: Settings common to all `models`, which each of them can override.
        only: Names of models, or patterns such as "layers*"; None for all.
        training_categories: Categories to train on, each with its anomalous samples; a job then trains on one and tests
            on all other `categories`. None: each category is trained on, without anomalies, and tested.

    Returns:
        The jobs, ordered by seed, so that an interrupted grid has complete tables for its first seeds.

    Raises:
        InputError: If something is missing, unknown, empty or duplicate.
    """
    data = data or {}
    models = [_over(model or {}, entry) for entry in models]
    lists = {"categories": categories, "k_shot": k_shot, "seeds": seeds, "models": models}
    if training_categories is not None:
        lists["training_categories"] = training_categories
    _check_lists(lists)
    _check_keys("data", data, _OF_DATA, needed=("class_path",))
    _check_trainer("trainer", trainer or {})
    for place, entry in enumerate(models, start=1):
        where = f"models, {entry.get('name', f'number {place}')}"
        _check_keys(where, entry, _OF_A_MODEL, ("name", "class_path"))
        _check_trainer(f"{where}, trainer", entry.get("trainer") or {})
        _check_published(where, entry.get("published"))
    _check_unique("models", [entry["name"] for entry in models])
    models = _chosen(models, only)
    if evaluation_size != "native" and evaluation_size < 1:
        msg = f"evaluation_size={evaluation_size}: give a number of pixels, 240 as in the paper, or native"
        raise InputError(msg)
    return [
        Job(
            name=entry["name"],
            published=entry.get("published"),
            class_path=entry["class_path"],
            init_args=dict(entry.get("init_args") or {}),
            trainer={**(trainer or {}), **(entry.get("trainer") or {})},
            data_class_path=data["class_path"],
            data_init_args={**(data.get("init_args") or {}), **(entry.get("data") or {})},
            category=category,
            k_shot=shots,
            seed=seed,
            evaluation_size=evaluation_size,
            tested=tuple(other for other in categories if other != category) if training_categories else (),
        )
        for seed, shots, entry, category in product(seeds, k_shot, models, training_categories or categories)
    ]


def _over(common: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of one model, which override the common ones."""
    merged = {**common, **entry}
    for key in _MAPPINGS & set(common) & set(entry):
        if isinstance(common[key], Mapping) and isinstance(entry[key], Mapping):
            merged[key] = {**common[key], **entry[key]}
    return merged


def _chosen(models: Sequence[Mapping[str, Any]], only: Sequence[str] | None) -> list[Mapping[str, Any]]:
    """Select models whose names match one of the patterns."""
    names = [entry["name"] for entry in models]
    for pattern in only or ():
        if not fnmatch.filter(names, pattern):
            msg = f"only: no model of the grid is called {pattern!r}; there are {', '.join(names)}"
            raise InputError(msg)
    return [entry for entry in models if only is None or any(fnmatch.fnmatch(entry["name"], each) for each in only)]


def _check_lists(lists: Mapping[str, Sequence[Any]]) -> None:
    for name, values in lists.items():
        if not values:
            msg = f"{name}: nothing given; list at least one, or give a grid with --config configs/benchmark/quick.yaml"
            raise InputError(msg)
        if name != "models":
            _check_unique(name, values)
    if "training_categories" in lists:
        _check_training(lists)
    elif low := [shots for shots in lists["k_shot"] if shots < 1]:
        msg = f"k_shot: found {low[0]}; at least 1 normal part is needed"
        raise InputError(msg)


def _check_training(lists: Mapping[str, Sequence[Any]]) -> None:
    if list(lists["k_shot"]) != [0]:
        msg = f"k_shot: found {list(lists['k_shot'])}; with training_categories no normal part is given: [0]"
        raise InputError(msg)
    trained = set(lists["training_categories"])
    if len(trained) == 1 and trained >= set(lists["categories"]):
        msg = f"categories: {next(iter(trained))} is trained on, and there is no other to test on; add some"
        raise InputError(msg)


def _check_keys(where: str, given: Mapping[str, Any], known: Sequence[str], needed: Iterable[str]) -> None:
    if missing := [key for key in needed if not given.get(key)]:
        msg = f"{where}: {missing[0]} is missing; it needs {' and '.join(needed)}"
        raise InputError(msg)
    if unknown := [key for key in given if key not in known]:
        near = get_close_matches(unknown[0], known, n=1)
        advice = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
        msg = f"{where}: unknown {unknown[0]!r}; {advice}"
        raise InputError(msg)

    for key in _MAPPINGS & set(given):
        if not isinstance(given[key] or {}, Mapping):
            msg = f"{where}: {key} is {given[key]!r}; it needs names with values"
            raise InputError(msg)


def _check_trainer(where: str, given: Mapping[str, Any]) -> None:
    if "callbacks" in given:
        msg = f"{where}: callbacks cannot be given; a model adds what it needs itself (configure_callbacks)"
        raise InputError(msg)


def _check_published(where: str, name: str | None) -> None:
    if name and name not in (known := published_methods()):
        near = get_close_matches(name, known, n=1)
        advice = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
        msg = f"{where}: no paper's tables have a published {name!r}; {advice}"
        raise InputError(msg)


def _check_unique(name: str, values: Sequence[Any]) -> None:
    if twice := [value for value in values if values.count(value) > 1]:
        msg = f"{name}: {twice[0]!r} is there twice; remove or rename one"
        raise InputError(msg)
