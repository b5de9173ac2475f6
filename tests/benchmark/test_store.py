# SPDX-License-Identifier: Apache-2.0
from collections.abc import Callable
from pathlib import Path

import pytest

from anomalib_clip3dad.benchmark.store import Store, write_json


def test_a_damaged_record_is_made_anew(jobs_of: Callable, tmp_path: Path) -> None:
    (job,) = jobs_of()
    store = Store(tmp_path)
    store.save(job, {"found": 1})
    assert store.unfinished([job]) == []
    store.path(job).write_text(store.path(job).read_text()[:-20])
    assert store.load(job) is None
    assert store.unfinished([job]) == [job]


def test_the_same_settings_are_run_once(jobs_of: Callable, tmp_path: Path) -> None:
    (job,) = jobs_of()
    assert Store(tmp_path).unfinished([job, job._replace(name="another name")]) == [job._replace(name="another name")]
    other = job._replace(seed=1)
    assert Store(tmp_path).unfinished([job, other]) == [job, other]


def test_what_cannot_be_written_leaves_what_was_there(tmp_path: Path) -> None:
    file = tmp_path / "folder/a.json"
    write_json(file, {"a": 1})
    with pytest.raises(TypeError):
        write_json(file, {"a": object()})
    assert file.read_text() == '{\n "a": 1\n}'
    assert list(file.parent.iterdir()) == [file]
