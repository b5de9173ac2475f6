# SPDX-License-Identifier: Apache-2.0

"""Folders of one's own: how files are found and paired, and what the data module makes of them."""

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from anomalib.data.utils import LabelName
from PIL import Image

from anomalib_clip3dad.data import Folder3DXYZ
from anomalib_clip3dad.data.folder_3d import list_folder, pair_files
from anomalib_clip3dad.errors import InputError
from tests.conftest import bumpy_part
from tests.data.conftest import from_command_line, names, ready, write_parts


def test_good_parts_alone_are_enough(good: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="anomalib_clip3dad.data.few_shot_datamodule")
    data = ready(good, class_name="bump", k_shot=4)
    shots, validated, tested = names(data.train_data), names(data.val_data), names(data.test_data)
    assert len(shots) == 4
    assert len(validated) == len(tested) == 4
    assert len({*shots, *validated, *tested}) == 8  # each good part once as a shot, twice held out
    assert list(data.val_data.samples.label_index) == [0, 0, 1, 1]
    held_out = sorted(set(validated))
    assert f"bump: validation on held-out good samples and a synthetic anomaly on each: {held_out[0]}, " in caplog.text
    assert f"bump: 4 of 8 shots: rgb/{shots[0]}" in caplog.text


def test_one_part_more_than_shots_serves_validation_and_test(good: Path) -> None:
    data = ready(good, k_shot=7)
    assert set(names(data.val_data)) == set(names(data.test_data))
    masks = [next(item for item in split if item.gt_label).gt_mask for split in (data.val_data, data.test_data)]
    assert not torch.equal(*masks)  # with other anomalies


def test_all_parts_as_shots_leave_none_for_the_threshold(good: Path) -> None:
    with pytest.raises(ValueError, match=r"good: every training sample is a shot, none is left .*lower k_shot"):
        ready(good, k_shot=8)


def test_all_shots_without_few_shot_hold_out_a_half(good: Path) -> None:
    data = ready(good, k_shot=None, test_split_mode="none")
    assert len(data.train_data) == 4
    assert not set(names(data.train_data)) & set(names(data.val_data))


def test_faulty_parts_are_tested_with_their_masks(good: Path, faulty: Path, tmp_path: Path) -> None:
    write_parts(tmp_path / "more", 2, first_seed=30)
    data = ready(good, abnormal_dir=faulty, normal_test_dir=tmp_path / "more")
    assert sorted(data.test_data.samples.label_index) == [0, 0, 1, 1, 1]
    batch = next(iter(data.test_dataloader()))
    assert batch.gt_mask.flatten(1).sum(1).tolist() == [100 - 10 * i if bad else 0 for i, bad in ordered(batch)]
    assert len(data.val_data) == 8  # all four that are left, and an anomaly on each


def ordered(batch: object) -> list[tuple[int, bool]]:
    return [(int(Path(p).stem), "/bad/" in p) for p in batch.image_path]


@pytest.mark.parametrize("with_good", [False, True])
def test_without_masks_the_task_is_classification(good: Path, tmp_path: Path, with_good: bool) -> None:
    write_parts(tmp_path / "bad", 2, first_seed=20)
    write_parts(tmp_path / "more", 1, first_seed=30)
    data = ready(good, abnormal_dir=tmp_path / "bad", normal_test_dir=tmp_path / "more" if with_good else None)
    assert data.test_data.task.value == "classification"
    batch = next(iter(data.test_dataloader()))
    assert batch.gt_mask is None
    assert sorted(batch.gt_label.tolist()) == [False, True, True]
    assert next(iter(data.val_dataloader())).gt_mask is not None


def test_each_folder_has_its_own_camera(good: Path, tmp_path: Path) -> None:
    """The same depths seen by a longer lens are of a smaller part."""
    write_parts(tmp_path / "new", 1)
    for folder, focal in ((good, 120), (tmp_path / "new", 240)):
        for file in (folder / "xyz").iterdir():
            np.save(file, np.load(file)[..., 2])
        camera = {"fx": focal, "fy": focal, "cx": 23.5, "cy": 23.5}
        (folder / "intrinsics.json").write_text(json.dumps(camera))
    data = ready(good, k_shot=4, predict_dir=tmp_path / "new")
    near = next(item for item in [*data.train_data, *data.val_data] if item.image_path.endswith("000.png"))
    (batch,) = data.predict_dataloader()
    torch.testing.assert_close(2 * batch.depth_map[0, :2], near.depth_map[:2])
    torch.testing.assert_close(batch.depth_map[0, 2], near.depth_map[2])


def test_new_parts_to_predict_have_no_truth(good: Path, tmp_path: Path) -> None:
    write_parts(tmp_path / "new", 3, first_seed=40)
    data = ready(good, predict_dir=tmp_path / "new", eval_batch_size=2)
    batches = list(data.predict_dataloader())
    assert [Path(path).name for batch in batches for path in batch.image_path] == ["000.png", "001.png", "002.png"]
    assert all(batch.gt_label is None and batch.gt_mask is None for batch in batches)


def test_new_parts_alone_are_predicted_but_nothing_else(good: Path) -> None:
    data = Folder3DXYZ(predict_dir=good)
    data.setup("predict")
    batch = next(iter(data.predict_dataloader()))
    assert len(batch.image) == 8
    assert batch.gt_label is None
    assert data.state_dict() == {}
    for stage in ("fit", "test"):
        with pytest.raises(InputError, match="normal_dir: no folder of good samples is given"):
            Folder3DXYZ(predict_dir=good).setup(stage)
    with pytest.raises(InputError, match="normal_dir: no folder"):
        Folder3DXYZ().setup("predict")


def test_without_new_parts_those_of_the_test_are_predicted(
    good: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_parts(tmp_path / "bad", 2, first_seed=40)
    (batch,) = ready(good, abnormal_dir=tmp_path / "bad").predict_dataloader()
    assert sum(Path(path).parents[1].name == "bad" for path in batch.image_path) == 2
    assert f"the samples of the test are predicted, {tmp_path / 'bad'}" in caplog.text
    data = ready(good)
    with pytest.raises(InputError, match="predict_dir: there are no samples to predict"):
        data.predict_dataloader()


@pytest.mark.parametrize("where", ["inside", "above", "named"])
def test_depth_with_a_camera(tmp_path: Path, where: str) -> None:
    """A depth map in tenths of millimetres gives the cloud that was measured."""
    folder, camera = tmp_path / "good", {"fx": 120, "fy": 120, "cx": 23.5, "cy": 23.5, "depth_scale": 0.1, "unit": "mm"}
    for number in range(2):
        image, xyz = bumpy_part(seed=number)
        for name in ("rgb", "depth"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        pixels = (255 * image).to(torch.uint8).permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(folder / f"rgb/{number}.png")
        Image.fromarray(np.rint(1e4 * xyz[2].numpy()).astype(np.uint16)).save(folder / f"depth/{number}.png")
    file = {"inside": folder, "above": tmp_path, "named": tmp_path / "elsewhere"}[where] / "intrinsics.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(camera))
    data = ready(folder, intrinsics=file if where == "named" else None, k_shot=1)
    item = data.train_data[0]
    _, expected = bumpy_part(seed=int(Path(item.image_path).stem))
    torch.testing.assert_close(item.depth_map, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"val_split_mode": "from_dir"}, "val_split_mode=from_dir: there is no folder to validate on"),
        ({"test_split_mode": "from_dir"}, "test_split_mode=from_dir needs abnormal_dir or normal_test_dir"),
    ],
)
def test_modes_that_have_no_folder(good: Path, arguments: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Folder3DXYZ(good, **arguments)


def test_arguments_parse_as_on_anomalibs_command_line(good: Path) -> None:
    arguments = [f"--data.normal_dir={good}", "--data.k_shot=2", "--data.seed=3", "--data.class_name=cable gland"]
    data = from_command_line(["--data=anomalib_clip3dad.data.Folder3DXYZ", *arguments])
    assert isinstance(data, Folder3DXYZ)
    assert (data.k_shot, data.seed, data.category) == (2, 3, "cable gland")


NAMES = ("000", "a b", "x.1")


def touch(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"")


@pytest.fixture(params=["apart", "together"])
def three(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Three samples in either layout, and files that are none."""
    folder = tmp_path / "good"
    images, scans = (folder / "rgb", folder / "xyz") if request.param == "apart" else (folder, folder)
    touch(images, *(f"{name}.{suffix}" for name, suffix in zip(NAMES, ("png", "JPG", "bmp"), strict=True)))
    touch(scans, *(f"{name}.{suffix}" for name, suffix in zip(NAMES, ("tiff", "npy", "PLY"), strict=True)))
    touch(images, "._000.png", "notes.txt")
    return folder


def test_pictures_find_their_scans(three: Path) -> None:
    pairs = pair_files(three)
    assert [(image.name, scan.name) for image, scan in pairs] == [
        ("000.png", "000.tiff"),
        ("a b.JPG", "a b.npy"),
        ("x.1.bmp", "x.1.PLY"),
    ]
    assert all(path.is_file() for pair in pairs for path in pair)


def test_depth_pictures_in_a_folder_of_their_own(tmp_path: Path) -> None:
    touch(tmp_path / "rgb", "0.png")
    touch(tmp_path / "depth", "0.png")
    assert pair_files(tmp_path) == [(tmp_path / "rgb/0.png", tmp_path / "depth/0.png")]


def test_table(three: Path, tmp_path: Path) -> None:
    table = list_folder(three, LabelName.NORMAL)
    assert list(table.label_index) == [0, 0, 0]
    assert set(table.mask_path) == {""}
    touch(tmp_path / "masks", "000.png", "a b.png", "x.1.png")
    table = list_folder(three, LabelName.ABNORMAL, tmp_path / "masks")
    assert list(table.label_index) == [1, 1, 1]
    assert [Path(mask).name for mask in table.mask_path] == ["000.png", "a b.png", "x.1.png"]


@pytest.mark.parametrize("name", ["gt", "mask"])
def test_masks_are_found_inside(three: Path, name: str) -> None:
    assert set(list_folder(three, LabelName.ABNORMAL).mask_path) == {""}
    touch(three / name, "000.png", "a b.jpg", "x.1.png")
    assert list(list_folder(three, LabelName.ABNORMAL).mask_path)[1] == str(three / name / "a b.jpg")
    assert set(list_folder(three, LabelName.NORMAL).mask_path) == {""}


def test_masks_are_found_whatever_the_case(three: Path, tmp_path: Path) -> None:
    touch(tmp_path / "masks", "000.PNG", "a b.Png", "x.1.BMP")
    masks = list_folder(three, LabelName.ABNORMAL, tmp_path / "masks").mask_path
    assert [Path(mask).name for mask in masks] == ["000.PNG", "a b.Png", "x.1.BMP"]


def test_pictures_beside_a_folder_of_scans(tmp_path: Path) -> None:
    touch(tmp_path, "0.png")
    touch(tmp_path / "depth", "0.png")
    assert pair_files(tmp_path) == [(tmp_path / "0.png", tmp_path / "depth/0.png")]


def test_a_missing_mask_is_named(three: Path) -> None:
    touch(three / "gt", "000.png")
    with pytest.raises(
        FileNotFoundError, match=r"a b\.JPG: no mask a b.* in .*gt; add it.* \(2 files: a b\.JPG, x\.1\.bmp\)"
    ):
        list_folder(three, LabelName.ABNORMAL)


def test_a_picture_without_scan_is_named(three: Path) -> None:
    pair_files(three)[1][1].unlink()
    with pytest.raises(FileNotFoundError, match=r"a b\.JPG: no 3D file of that name; add a b\{\.tiff"):
        pair_files(three)


def test_two_scans_of_one_name_are_named(three: Path) -> None:
    touch(pair_files(three)[0][1].parent, "000.npy")
    with pytest.raises(ValueError, match=r"000\.png, 000\.npy, 000\.tiff share a name"):
        pair_files(three)


def test_a_scan_without_picture_is_named(three: Path) -> None:
    touch(pair_files(three)[0][1].parent, "000.png.npy")  # another stem than 000
    with pytest.raises(FileNotFoundError, match=r"000\.png\.npy: no image of that name"):
        pair_files(three)


def test_further_faults_are_counted(three: Path) -> None:
    for _, scan in pair_files(three)[:2]:
        scan.unlink()
    with pytest.raises(FileNotFoundError, match=r"000\.png: no 3D file .* \(2 files: 000\.png, a b\.JPG\)$"):
        pair_files(three)


def test_two_pictures_of_one_name_are_named(three: Path) -> None:
    touch(pair_files(three)[0][0].parent, "000.jpg")
    with pytest.raises(ValueError, match=r"000\.jpg, 000\.png, 000\.tiff share a name"):
        pair_files(three)


def test_two_folders_of_scans_are_named(tmp_path: Path) -> None:
    for folder in ("rgb", "xyz", "depth"):
        touch(tmp_path / folder, "0.png")
    with pytest.raises(ValueError, match="found xyz, depth; keep the one"):
        pair_files(tmp_path)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder"):
        pair_files(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"no image found \(\.png, .*into rgb and 3D files into xyz, depth or"):
        pair_files(tmp_path)
    touch(tmp_path / "rgb", "0.png")
    shutil.rmtree(tmp_path / "rgb")
    (tmp_path / "rgb").mkdir()
    with pytest.raises(FileNotFoundError, match="no image found"):
        pair_files(tmp_path)


def test_a_folder_cannot_be_normal_and_anomalous(good: Path) -> None:
    with pytest.raises(ValueError, match=r"abnormal_dir=.*good: the same folder as normal_dir"):
        Folder3DXYZ(good, abnormal_dir=good.parent / "good")
