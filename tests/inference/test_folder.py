# SPDX-License-Identifier: Apache-2.0
import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anomalib_clip3dad.data.listing import Sample
from anomalib_clip3dad.errors import InputError
from anomalib_clip3dad.inference.folder import (
    Results,
    Verdict,
    arriving,
    judge,
    list_parts,
    new_folder,
    overlay,
)
from anomalib_clip3dad.inference.runtimes import open_model
from anomalib_clip3dad.report import read_surface
from tests.data.conftest import write_parts
from tests.deployed import Deployed


def test_it_judges_as_the_model_does(deployed: Deployed, tmp_path: Path) -> None:
    write_parts(tmp_path, 3)
    model = open_model(deployed.checkpoint, "cpu")
    for sample in list_parts(tmp_path)[0]:
        found = judge(model, sample, tmp_path)
        expected = deployed.model.predict(sample.image, sample.scan)
        assert expected.pred_mask is not None
        assert found.score == pytest.approx(expected.pred_score.item(), abs=1e-6)
        assert np.abs(found.anomaly_map - expected.anomaly_map[0].numpy()).max() < 1e-6
        assert found.faulty == expected.pred_label.item()
        assert np.array_equal(found.mask, expected.pred_mask[0].numpy())


def test_what_cannot_be_read_is_said_and_the_rest_is_judged(deployed: Deployed, tmp_path: Path) -> None:
    write_parts(tmp_path, 2)
    (tmp_path / "rgb/000.png").write_bytes(b"cut short")
    model = open_model(deployed.onnx)
    first, second = (judge(model, sample, tmp_path) for sample in list_parts(tmp_path)[0])
    assert first.score is None
    assert first.error.startswith(f"{tmp_path / 'rgb/000.png'}: unreadable image")
    assert second.score is not None


def verdict(folder: Path, number: int, score: float | None) -> Verdict:
    sample = Sample(folder / f"inner/{number:03d}.jpg", folder / f"inner/{number:03d}.npy")
    if score is None:
        return Verdict(sample, error="it is broken")
    picture = np.full((4, 6, 3), 100, np.uint8)
    xyz = np.stack([*np.mgrid[:4, :6][::-1] / 100, np.full((4, 6), 0.5)]).astype(np.float32)
    xyz[:, 0, 0] = 0  # not measured
    return Verdict(sample, score, score > 0.5, np.eye(2), np.eye(2, dtype=bool), "", picture, xyz)


def test_results_are_on_disk_after_every_part(tmp_path: Path) -> None:
    parts, folder = tmp_path / "parts", tmp_path / "out"
    folder.mkdir()
    results = Results(folder, parts)
    rows = []
    for number, score in enumerate([0.25, None, 0.75]):
        results.add(verdict(parts, number, score))
        with (folder / "scores.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == number + 1
    assert [row["label"] for row in rows] == ["good", "", "faulty"]
    assert [row["score"] for row in rows] == ["0.250000", "", "0.750000"]
    assert [row["error"] for row in rows] == ["", "it is broken", ""]
    mask = np.asarray(Image.open(folder / "masks/inner/002.png"))
    assert np.array_equal(mask, 255 * np.kron(np.eye(2), np.ones((2, 3))))  # one channel, of the image's size
    assert Image.open(folder / "overlays/inner/002.png").size == (6, 4)
    said = list(results.summary())
    assert said[:2] == [
        "1 of 2 samples labelled faulty.",
        "1 could not be judged; the column error of scores.csv says why.",
    ]
    assert said[2] == f"Results: {folder} (masks, overlays, report.html, run.json, scores.csv, surfaces)"
    assert said[3] == f"Report: {folder / 'report.html'}"
    assert len(read_surface(folder / "surfaces/inner/002.ply").points) == 6 * 4 - 1


def test_the_image_shows_through_where_the_map_is_low() -> None:
    grey = Image.new("RGB", (3, 1), (100, 100, 100))
    drawn = np.asarray(overlay(grey, np.array([[0.0, 0.5, 1.0]])))[0].astype(int)
    assert drawn[0].tolist() == [100] * 3
    # matplotlib's inferno at 0.5 is (188, 55, 84), at 1 (252, 255, 164); opaque by 0.85 times the map
    assert np.abs(drawn[1] - [100 + 0.425 * (c - 100) for c in (188, 55, 84)]).max() <= 1
    assert np.abs(drawn[2] - [100 + 0.85 * (c - 100) for c in (252, 255, 164)]).max() <= 1


def test_folders_are_numbered_and_none_is_used_twice(tmp_path: Path) -> None:
    (tmp_path / "v9").mkdir()
    (tmp_path / "vase").mkdir()
    assert [new_folder(tmp_path).name for _ in range(2)] == ["v10", "v11"]


def test_parts_that_arrive_are_given_once_and_whole(tmp_path: Path) -> None:
    write_parts(tmp_path / "all", 3)
    new = tmp_path / "new"
    (new / "rgb").mkdir(parents=True)
    (new / "xyz").mkdir()

    def put(name: str, share: float = 1.0) -> None:
        content = (tmp_path / "all" / name).read_bytes()
        (new / name).write_bytes(content[: int(share * len(content))])

    # what happens between two looks at the folder
    events = iter(
        [
            lambda: put("rgb/000.png"),
            lambda: put("xyz/000.npy", 0.5),  # still being written
            lambda: put("xyz/000.npy"),
            lambda: None,
            lambda: (put("rgb/001.png"), put("xyz/001.npy")),
            lambda: None,
            lambda: None,
        ]
    )
    given: list[list[str]] = [[]]

    def wait() -> None:
        step = next(events, None)
        if step is None:
            raise KeyboardInterrupt
        step()
        given.append([])

    def look_on() -> None:
        for sample in arriving(new, wait):
            given[-1].append(sample.image.name)

    with pytest.raises(KeyboardInterrupt):
        look_on()
    assert given == [[], [], [], [], ["000.png"], [], ["001.png"], []]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere: no such folder"):
        list_parts(tmp_path / "nowhere")


def test_folders_inside_are_listed_too(tmp_path: Path) -> None:
    write_parts(tmp_path / "test/good", 1)
    write_parts(tmp_path / "test/hole", 2)
    found = [sample.image.relative_to(tmp_path).as_posix() for sample in list_parts(tmp_path)[0]]
    assert found == ["test/good/rgb/000.png", "test/hole/rgb/000.png", "test/hole/rgb/001.png"]


def test_a_model_without_a_threshold_gives_no_labels(deployed: Deployed, tmp_path: Path) -> None:
    write_parts(tmp_path, 1)
    model = open_model(deployed.onnx)
    known = model.metadata
    model.metadata = type(known)(**vars(known) | {"image_threshold": None})
    found = judge(model, list_parts(tmp_path)[0][0], tmp_path)
    assert found.score is not None
    assert found.faulty is None
    assert found.mask is None
    (tmp_path / "out").mkdir()
    results = Results(tmp_path / "out", tmp_path)
    results.add(found)
    assert next(results.summary()) == "1 samples scored; without a threshold there are no labels."
