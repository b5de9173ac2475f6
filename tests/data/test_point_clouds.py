# SPDX-License-Identifier: Apache-2.0
"""Small clouds in the layouts of Real3D-AD and Anomaly-ShapeNet, named as theirs are."""

from pathlib import Path

import numpy as np
import pytest
import torch
from pypcd4 import Encoding, PointCloud
from torchvision.transforms.v2 import Resize

from anomalib_clip3dad.data import PointClouds
from anomalib_clip3dad.data.point_clouds import clear_of_padding, find_labels
from anomalib_clip3dad.data.synthetic_defects import SyntheticDefects
from tests.data.conftest import from_command_line

REAL = {
    "good": "good",
    "truth": "gt",
    "separator": " ",
    "train": "{}_template",
    "good_name": "{}_good",
    "bad": "{}_bulge",
}
SHAPENET = {
    "truth": "GT",
    "separator": ",",
    "train": "bag0_template{}",
    "good_name": "bag0_positive{}",
    "bad": "bag0_bulge{}",
}
LAYOUTS = {"Real3D-AD": REAL, "Anomaly-ShapeNet": SHAPENET}


def ball(count: int, seed: int) -> np.ndarray:
    points = np.random.default_rng(seed).standard_normal((count, 3))
    return (30 * points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)


def write(folder: Path, name: str, points: np.ndarray) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    PointCloud.from_xyz_points(points).save(folder / f"{name}.pcd", encoding=Encoding.ASCII)


def write_category(folder: Path, layout: dict[str, str], counts: tuple[int, int] = (300, 150)) -> None:
    """Four training clouds, two normal ones and three with a bulge on top, whose points are in another order."""
    for number in range(4):
        write(folder / "train", layout["train"].format(number), ball(counts[0], number))
    for number in range(2):
        write(folder / "test", layout["good_name"].format(number), ball(counts[1], 10 + number))
    (folder / layout["truth"]).mkdir()
    for number in range(3):
        points = ball(counts[1], 20 + number)
        label = points[:, 2] > 20
        points[label] *= 1.1
        write(folder / "test", layout["bad"].format(number), points)
        rows = [(*point, float(mark)) for point, mark in zip(points, label, strict=True)][::-1]
        lines = [layout["separator"].join(f"{value:.5f}" for value in row) + "\n" for row in rows]
        (folder / layout["truth"] / f"{layout['bad'].format(number)}.txt").write_text("".join(lines))


@pytest.fixture(params=LAYOUTS)
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    write_category(tmp_path / "bag0", LAYOUTS[request.param])
    return tmp_path


def ready(root: Path, **kwargs: object) -> PointClouds:
    data = PointClouds(root, "bag0", **{"num_points": 200, **kwargs})  # type: ignore[arg-type]
    data.setup()
    return data


def test_splits_labels_and_the_row_of_points(root: Path) -> None:
    data = ready(root)
    assert (len(data.train_data), len(data.test_data)) == (4, 5)
    assert sorted(int(item.gt_label) for item in data.test_data) == [0, 0, 1, 1, 1]
    assert sorted(data.test_data.samples.label) == ["bulge"] * 3 + ["good"] * 2
    batch = next(iter(data.test_dataloader()))
    assert batch.depth_map.shape == (5, 3, 1, 200)
    assert batch.gt_mask.shape == (5, 1, 200)
    assert (batch.image == 0.5).all()
    for item in data.test_data:
        marked = item.gt_mask[0]
        assert bool(marked.any()) == bool(item.gt_label)
        if item.gt_label:  # those on top, as the labels say
            z = item.depth_map[2, 0]
            assert z[marked].min() > 15
            assert z[~marked].max() < 26


@pytest.mark.parametrize("num_points", [2, 100, 150, 700])
def test_every_cloud_gets_the_number_of_points_that_was_asked_for(root: Path, num_points: int) -> None:
    for item in ready(root, num_points=num_points).test_data:
        assert item.depth_map.shape == (3, 1, num_points)
        assert item.gt_mask.shape == (1, num_points)
        assert (item.depth_map != 0).any(dim=0).all()


def test_as_many_points_as_the_file_are_those_of_the_file_with_their_labels(root: Path) -> None:
    """In units and places of the file: Real3D-AD's are millimetres."""
    data = ready(root, num_points=150)
    index = int(np.flatnonzero(data.test_data.samples.label == "bulge")[0])
    item = data.test_data[index]
    points = PointCloud.from_path(item.depth_path).numpy(("x", "y", "z"))
    assert np.array_equal(item.depth_map[:, 0].T.numpy(), points)
    assert np.array_equal(item.gt_mask[0].numpy(), np.linalg.norm(points, axis=1) > 31)


def test_a_resize_changes_the_image_alone(root: Path) -> None:
    data = ready(root)
    plain = data.train_data[0].depth_map
    data.train_data.augmentations = Resize((48, 48))
    item = data.train_data[0]
    assert item.image.shape == (3, 48, 48)
    assert torch.equal(item.depth_map, plain)


def test_few_shots_and_a_validation_from_the_test(root: Path) -> None:
    data = ready(root, k_shot=2, val_split_mode="from_test", val_split_ratio=0.5)
    assert len(data.train_data) == 2
    assert len(data.val_data) + len(data.test_data) == 5
    assert next(iter(data.train_dataloader())).depth_map.shape == (4, 3, 1, 200)


def test_synthetic_anomalies_are_refused(root: Path) -> None:
    with pytest.raises(ValueError, match="synthetic anomalies need rows and columns of points"):
        ready(root, k_shot=2, val_split_mode="synthetic")
    with pytest.raises(ValueError, match="synthetic anomalies need rows and columns of points"):
        SyntheticDefects(ready(root).train_data, 0)


def test_templates_in_the_test_folder_are_no_samples(root: Path) -> None:
    write(root / "bag0/test", "9_template", ball(50, 0))
    assert len(ready(root).test_data) == 5


def test_categories_are_the_folders(root: Path) -> None:
    write_category(root / "ashtray0", REAL)
    (root / "readme").mkdir()
    assert PointClouds(root, "bag0").categories == ["ashtray0", "bag0"]


def test_a_cloud_with_a_point_at_the_origin_is_moved() -> None:
    points = ball(50, 0)
    assert clear_of_padding(points) is points
    points[7] = 0
    moved = clear_of_padding(points)
    assert moved.dtype == np.float32
    assert (moved != 0).any(axis=1).all()
    np.testing.assert_allclose(moved - points, np.broadcast_to((moved - points)[:1], points.shape), atol=1e-5)
    assert (clear_of_padding(np.zeros((3, 3), np.float32)) != 0).any(axis=1).all()


def test_missing_ground_truth_is_named(root: Path) -> None:
    (truth,) = (root / "bag0").glob("[gG][tT]")
    next(iter(truth.iterdir())).unlink()
    with pytest.raises(FileNotFoundError, match=r"not there, though .*bulge.*\.pcd is anomalous by its name"):
        ready(root)


def test_ground_truth_of_another_cloud_or_of_nothing_is_named(root: Path) -> None:
    data = ready(root)
    index = int(np.flatnonzero(data.test_data.samples.label == "bulge")[0])
    file = Path(data.test_data.samples.mask_path[index])
    text = file.read_text()
    separator = "," if "," in text else " "
    rows = np.array([[float(value) for value in line.split(separator)] for line in text.splitlines()])
    np.savetxt(file, rows * [1, 1, 1, 0], delimiter=separator)
    with pytest.raises(ValueError, match=r"marks nothing, but .* is listed as anomalous"):
        data.test_data[index]
    np.savetxt(file, rows * [2, 2, 2, 1], delimiter=separator)
    with pytest.raises(ValueError, match=r"150 of 150 points of .* are not in it; it belongs to another cloud"):
        data.test_data[index]


def test_labels_are_those_of_the_nearest_point(tmp_path: Path) -> None:
    points = ball(80, 1)
    marked = points[:, 0] > 0
    np.savetxt(tmp_path / "a.txt", np.column_stack([points + 0.01, marked])[::-1])
    assert np.array_equal(find_labels("a.pcd", points, tmp_path / "a.txt"), marked)


def test_no_data_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"airplane/train: no cloud \(\.pcd, \.ply\) in it; unpack Real3D-AD"):
        PointClouds(tmp_path).setup()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"num_points": 1}, "num_points=1: at least 2"), ({"val_split_mode": "from_dir"}, "val_split_mode=from_dir")],
)
def test_wrong_arguments_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PointClouds(**arguments)


def test_a_single_point_is_named(root: Path) -> None:
    write(root / "bag0/train", "9_template", ball(1, 0))
    with pytest.raises(ValueError, match="found a single point"):
        list(ready(root).train_data)


def test_arguments_parse_as_on_anomalibs_command_line(root: Path) -> None:
    arguments = [f"--data.root={root}", "--data.category=bag0", "--data.num_points=50", "--data.eval_batch_size=2"]
    data = from_command_line(["--data=anomalib_clip3dad.data.PointClouds", *arguments])
    data.setup()
    assert next(iter(data.test_dataloader())).depth_map.shape == (2, 3, 1, 50)
