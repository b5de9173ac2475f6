# SPDX-License-Identifier: Apache-2.0
from collections.abc import Callable

import pytest

from anomalib_clip3dad.benchmark import METRICS
from anomalib_clip3dad.benchmark.grid import Job
from anomalib_clip3dad.benchmark.job import attempt, make_data, run_job

BASELINES = "anomalib_clip3dad.benchmark.baselines"


@pytest.mark.parametrize("k_shot", [1, 2, 3])
@pytest.mark.parametrize("batch", [None, 2, 4])
def test_an_epoch_shows_each_shot_once(jobs_of: Callable[..., list[Job]], k_shot: int, batch: int | None) -> None:
    (job,) = jobs_of(k_shot=[k_shot])
    if batch:
        job.data_init_args["train_batch_size"] = batch
    data = make_data(job)
    data.setup()
    shown = [path for few in data.train_dataloader() for path in few.image_path]
    assert len(shown) == len(set(shown)) == k_shot


def test_steps_keep_their_batch(jobs_of: Callable[..., list[Job]]) -> None:
    (job,) = jobs_of(trainer={"max_steps": 3})
    assert make_data(job).train_batch_size == 4


def test_attempt_says_why(jobs_of: Callable[..., list[Job]]) -> None:
    unknown = {"name": "unknown", "class_path": "anomalib_clip3dad.models.Nothing"}
    nonsense = {
        "name": "nonsense",
        "class_path": f"{BASELINES}.Patchcore",
        "init_args": {"pre_trained": False, "nothing": 1},
    }
    first, second = map(attempt, jobs_of(models=[unknown, nonsense]))
    assert isinstance(first, str)
    assert first.startswith("class_path=anomalib_clip3dad.models.Nothing: cannot be imported")
    assert isinstance(second, str)
    assert "nothing" in second
    assert "\n" not in second


def test_one_category_trains_and_others_are_tested(jobs_of: Callable[..., list[Job]]) -> None:
    (job,) = jobs_of(categories=["gear", "ring"], training_categories=["ring"], k_shot=[0])
    job.data_init_args["eval_batch_size"] = 3
    data = make_data(job)
    data.setup()
    assert (data.category, data.eval_batch_size, set(data.test_data.samples.category)) == ("ring", 3, {"gear"})
    assert len(data.train_data) == 6  # all labelled samples: raw scores need no threshold
    assert data.val_dataloader() == []
    record = run_job(job)
    assert set(record["by_category"]) == {"gear"}
    assert record["by_category"]["gear"] == {name: record[name] for name in METRICS}
    assert record["test_samples"] == 6
    assert record["shots"].count("test/") == 6


@pytest.mark.parametrize("clc", [False, True])
def test_what_a_bank_trains_by_itself_is_counted(jobs_of: Callable[..., list[Job]], clc: bool) -> None:
    settings = {"backbone": "resnet10t", "layers": ["layer1"], "pre_trained": False, "image_size": 64, "patch_size": 8}
    settings |= {"max_steps": 2, "warmup_steps": 1, "clc": clc, "ifc": False}
    model = {"name": "LSFA", "class_path": "anomalib_clip3dad.models.Lsfa", "init_args": settings}
    # for features of width w, a block without bias of its queries, keys and values, and a projection head
    expected = sum(12 * w**2 + 10 * w + 512 * (w + 1) for w in (64, 33)) if clc else 0
    assert run_job(jobs_of(models=[model])[0])["trained_parameters"] == expected
