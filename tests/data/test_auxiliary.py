# SPDX-License-Identifier: Apache-2.0
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from anomalib.data import AnomalibDataModule
from jsonargparse import ArgumentParser
from torchvision.transforms.v2 import Resize

from anomalib_clip3dad.data import AuxiliaryDataModule, Folder3DXYZ, MVTec3DXYZ, PointClouds, Toy3D
from anomalib_clip3dad.data.auxiliary import hold_out
from anomalib_clip3dad.data.shots import KShotSampler
from anomalib_clip3dad.data.synthetic_defects import SyntheticDefects
from anomalib_clip3dad.errors import InputError
from anomalib_clip3dad.toy import CATEGORIES, write_toy3d
from tests.data.conftest import from_command_line, write_parts, write_sample
from tests.data.test_point_clouds import REAL, write_category

COUNTS = {"train/good": 3, "validation/good": 2, "test/good": 10, "test/crack": 5, "test/hole": 5}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three categories of MVTec 3D-AD's layout, whose files all differ."""
    for category in ("bagel", "carrot", "rope"):
        for kind, count in COUNTS.items():
            for number in range(count):
                write_sample(tmp_path / category / kind, number, mask=not kind.endswith("good"))
        for image in (tmp_path / category).rglob("*.png"):  # two categories share no file
            image.write_bytes(image.read_bytes() + category.encode())
    return tmp_path


def ready(source: object, *args: object, **kwargs: object) -> AuxiliaryDataModule:
    data = AuxiliaryDataModule(source, *args, **kwargs)  # type: ignore[arg-type]
    data.setup()
    return data


def files(data: object) -> set[str]:
    return set(data.samples.image_path)  # type: ignore[attr-defined]


def labels(data: object) -> list[int]:
    return data.samples.label_index.value_counts().sort_index().tolist()  # type: ignore[attr-defined]


def test_trains_on_the_labelled_samples_of_one_category_and_tests_on_the_others(root: Path) -> None:
    data = ready(MVTec3DXYZ(root, "carrot"))
    assert labels(data.train_data) == [8, 8]
    assert labels(data.val_data) == [2, 2]
    assert labels(data.test_data) == [20, 20]
    assert {Path(path).parts[-5] for path in files(data.train_data) | files(data.val_data)} == {"carrot"}
    assert files(data.train_data) | files(data.val_data) == {str(path) for path in root.glob("carrot/test/*/rgb/*.png")}
    assert set(data.test_data.samples.category) == {"bagel", "rope"}
    for path, category in zip(data.test_data.samples.image_path, data.test_data.samples.category, strict=True):
        assert Path(path).parts[-5] == category
    assert data.category == "carrot"
    for item in data.train_data:
        assert bool(item.gt_mask.any()) == bool(item.gt_label)


def test_trains_on_several_categories(root: Path) -> None:
    data = ready(MVTec3DXYZ(root, "carrot"), train_categories=["carrot", "rope"])
    assert labels(data.train_data) == [16, 16]
    assert {Path(path).parts[-5] for path in files(data.train_data) | files(data.val_data)} == {"carrot", "rope"}
    assert set(data.test_data.samples.category) == {"bagel"}
    assert {Path(name).parts[0] for name in data.training_files} == {"carrot", "rope"}
    assert len(set(data.training_files)) == 32


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"train_categories": ["carrot", "tyre"]}, "train_categories: found no tyre; give some of bagel, carrot, rope"),
        ({"train_categories": []}, "train_categories: none is given; give some of bagel"),
        ({"train_categories": ["rope"], "test_categories": ["rope"]}, "test_categories: rope is trained on"),
        ({"train_categories": ["rope", "carrot", "bagel"]}, "none is left but rope, carrot, bagel"),
    ],
)
def test_wrong_categories_to_train_on_are_named(root: Path, arguments: dict[str, list[str]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ready(MVTec3DXYZ(root, "carrot"), **arguments)


@pytest.mark.parametrize("seed", [0, 1])
def test_no_sample_is_in_two_splits(root: Path, seed: int) -> None:
    data = ready(MVTec3DXYZ(root, "carrot"), seed=seed)
    splits = [files(data.train_data), files(data.val_data), files(data.test_data)]
    assert len(set.union(*splits)) == sum(map(len, splits)) == 60


def test_the_share_for_the_threshold_is_drawn_by_the_seed(root: Path) -> None:
    held = [files(ready(MVTec3DXYZ(root, "carrot"), seed=seed).val_data) for seed in (0, 0, 1)]
    assert held[0] == held[1] != held[2]
    assert labels(ready(MVTec3DXYZ(root, "carrot"), val_split_ratio=0.5).val_data) == [5, 5]


def test_without_a_share_all_labelled_samples_train(root: Path) -> None:
    data = ready(MVTec3DXYZ(root, "carrot"), val_split_ratio=0)
    assert len(data.train_data) == 20
    assert data.val_dataloader() == []


def test_training_is_by_steps_shuffled_by_seed(root: Path) -> None:
    def shown(seed: int) -> Iterator[list[str]]:
        data = ready(MVTec3DXYZ(root, "carrot"), seed=seed, train_batch_size=3, val_split_ratio=0)
        data.trainer = SimpleNamespace(max_steps=9, world_size=1, accumulate_grad_batches=1, global_rank=0)
        for batch in data.train_dataloader():
            yield batch.image_path

    first, again, other = (list(shown(seed)) for seed in (0, 0, 1))
    assert first == again
    assert first != other
    assert [len(paths) for paths in first] == [3] * 9
    flat = [path for paths in first for path in paths]
    assert len(set(flat[:20])) == 20  # each sample once before any comes again
    assert flat != sorted(flat)


def test_an_epoch_without_steps_shows_each_sample(root: Path) -> None:
    data = ready(MVTec3DXYZ(root, "carrot"), val_split_ratio=0)
    loader = data.train_dataloader()
    assert isinstance(loader.sampler, KShotSampler)
    assert {path for batch in loader for path in batch.image_path} == files(data.train_data)


def test_chosen_categories(root: Path) -> None:
    data = ready(MVTec3DXYZ(root, "carrot"), test_categories=["rope"])
    assert set(data.test_data.samples.category) == {"rope"}


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (["carrot", "rope"], "carrot is trained on; test on others of bagel, carrot, rope"),
        (["tyre"], "found no tyre; give some of bagel, carrot, rope"),
        ([], "none is left but carrot"),
    ],
)
def test_categories_that_cannot_be_tested_are_named(root: Path, chosen: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ready(MVTec3DXYZ(root, "carrot"), test_categories=chosen)


def test_a_single_category_needs_a_target(root: Path) -> None:
    for category in ("bagel", "rope"):
        shutil.rmtree(root / category)
    with pytest.raises(ValueError, match="none is left but carrot, which is trained on; give a target"):
        ready(MVTec3DXYZ(root, "carrot"))


def test_toy_parts_train_for_toy_parts_and_for_another_data_set(root: Path, tmp_path: Path) -> None:
    small = {"size": (64, 64), "num_train": 1, "num_validation": 1, "num_good": 3, "num_defects": 1}
    toy = Toy3D(tmp_path / "toy", "gear", **small)
    assert AuxiliaryDataModule(toy).tested_categories == sorted({*CATEGORIES} - {"gear"})
    data = AuxiliaryDataModule(toy, test_categories=["ring"], val_split_ratio=0.3)
    data.prepare_data()
    assert {path.name for path in (tmp_path / "toy").iterdir()} == {"gear", "ring"}
    data.setup()
    assert (labels(data.train_data), labels(data.val_data), labels(data.test_data)) == ([2, 3], [1, 1], [3, 4])
    across = ready(toy, MVTec3DXYZ(root), test_categories=["rope", "bagel"])
    assert set(across.test_data.samples.category) == {"rope", "bagel"}
    back = ready(MVTec3DXYZ(root, "carrot"), Toy3D(tmp_path / "toy", "ring", **small), ["gear", "ring"])
    assert labels(back.test_data) == [6, 8]


def test_all_categories_of_a_target_are_tested_also_one_of_the_same_name(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    for category in ("carrot", "tire"):
        for kind in ("train/good", "test/good", "test/crack"):
            for number in range(2):
                write_sample(other / category / kind, number + 20, mask=kind.endswith("crack"))
    data = ready(MVTec3DXYZ(root, "carrot"), MVTec3DXYZ(other))
    assert set(data.test_data.samples.category) == {"carrot", "tire"}


def test_training_samples_are_never_tested_whatever_they_are_called(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Twice the same data set: under another root and as copies."""
    shutil.copytree(root / "carrot", tmp_path / "copy" / "karotte")
    for number in range(3):
        write_sample(tmp_path / "copy/karotte/test/good", 30 + number)
    data = ready(MVTec3DXYZ(root, "carrot"), MVTec3DXYZ(tmp_path / "copy"))
    assert {Path(path).stem for path in files(data.test_data)} == {"030", "031", "032"}
    assert "20 test samples are training samples, and left out" in caplog.text
    with pytest.raises(ValueError, match="all 20 test samples are trained on or set the threshold"):
        ready(MVTec3DXYZ(root, "carrot"), MVTec3DXYZ(root), test_categories=["carrot"])


def test_a_category_without_anomalies_trains_on_synthetic_ones(root: Path, tmp_path: Path) -> None:
    write_parts(tmp_path / "good", 5)
    parts = Folder3DXYZ(tmp_path / "good", k_shot=None, test_split_mode="none")
    data = ready(parts, MVTec3DXYZ(root))
    assert isinstance(data.train_data, SyntheticDefects)
    assert (labels(data.train_data), labels(data.val_data)) == ([4, 4], [1, 1])
    # a part is either trained on, normal and anomalous, or sets the threshold
    assert not files(data.train_data) & files(data.val_data)
    batches = [batch for batch in data.train_dataloader() for batch in batch]
    assert sorted(int(item.gt_label) for item in batches) == [0] * 4 + [1] * 4
    assert all(bool(item.gt_mask.any()) == bool(item.gt_label) for item in batches)
    assert data.training_files == sorted(f"rgb/{Path(path).name}" for path in files(data.train_data))
    assert len(data.training_digests) == 4


def test_normal_test_samples_train_too_where_no_anomalous_ones_are(root: Path) -> None:
    for kind in ("crack", "hole"):
        shutil.rmtree(root / "carrot/test" / kind)
    for normal in (root / "carrot").glob("*/good"):
        shutil.rmtree(normal)
    write_parts(root / "carrot/train/good", 3)
    write_parts(root / "carrot/test/good", 3, first_seed=20)
    data = ready(MVTec3DXYZ(root, "carrot"), test_categories=["rope"])
    assert (labels(data.train_data), labels(data.val_data)) == ([5, 5], [1, 1])


def test_what_was_trained_on_can_be_asked(root: Path) -> None:
    data = ready(MVTec3DXYZ(root, "carrot"))
    assert len(data.training_files) == len(set(data.training_digests)) == 16
    assert all(name.startswith("test/") for name in data.training_files)


def test_clouds_without_rows(tmp_path: Path) -> None:
    for number, category in enumerate(("airplane", "car")):
        write_category(tmp_path / category, REAL, (60, 50 + number))
    data = ready(PointClouds(tmp_path, "airplane", num_points=40), val_split_ratio=0.4)
    assert (labels(data.train_data), labels(data.val_data), labels(data.test_data)) == ([1, 2], [1, 1], [2, 3])
    assert next(iter(data.train_dataloader())).depth_map.shape == (4, 3, 1, 40)
    assert next(iter(data.test_dataloader())).gt_mask.shape == (5, 1, 40)


def test_augmentations_are_those_of_source_and_target(root: Path) -> None:
    source = MVTec3DXYZ(root, "carrot", train_augmentations=Resize((8, 8)), val_augmentations=Resize((9, 9)))
    data = ready(source, MVTec3DXYZ(root, test_augmentations=Resize((10, 10))), test_categories=["rope"])
    sizes = [part[0].image.shape[-1] for part in (data.train_data, data.val_data, data.test_data)]
    assert sizes == [8, 9, 10]


def test_the_source_stays_as_it_was(root: Path) -> None:
    source = MVTec3DXYZ(root, "carrot")
    source.setup()
    before = files(source.test_data)
    ready(source)
    assert source.category == "carrot"
    assert files(source.test_data) == before
    assert source.val_split_mode == "from_dir"


def test_a_share_needs_both_sides(root: Path) -> None:
    data = MVTec3DXYZ(root, "carrot", val_split_mode="none")
    data.setup()
    few = data.test_data.subsample([0, 10, 11])
    kinds = few.samples.label_index.tolist()
    assert sorted(kinds) == [0, 1, 1] or sorted(kinds) == [0, 0, 1]
    with pytest.raises(ValueError, match=r"a single .* sample cannot both train and set the threshold"):
        hold_out(few, 0.2, 0)
    assert [len(part) for part in hold_out(few, 0, 0)] == [3, 0]


@pytest.mark.parametrize("ratio", [-0.1, 1.0])
def test_a_share_is_one(root: Path, ratio: float) -> None:
    with pytest.raises(ValueError, match="val_split_ratio="):
        AuxiliaryDataModule(MVTec3DXYZ(root), val_split_ratio=ratio)


def test_yaml_of_a_user(root: Path) -> None:
    text = f"""
    data:
      class_path: anomalib_clip3dad.data.AuxiliaryDataModule
      init_args:
        source:
          class_path: anomalib_clip3dad.data.MVTec3DXYZ
          init_args: {{root: {root}, category: carrot}}
        test_categories: [bagel]
        train_batch_size: 2
        seed: 3
    """
    Path("config.yaml").write_text(yaml.safe_dump(yaml.safe_load(text)))
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--config", action="config")
    parser.add_subclass_arguments(AnomalibDataModule, "data", required=False, fail_untyped=False)
    data = parser.instantiate_classes(parser.parse_args(["--config=config.yaml", "--data.eval_batch_size=5"])).data
    assert isinstance(data, AuxiliaryDataModule)
    data.setup()
    assert (data.train_batch_size, data.eval_batch_size, data.seed, data.category) == (2, 5, 3, "carrot")
    assert labels(data.test_data) == [10, 10]


@pytest.mark.parametrize(("number", "kind"), [(0, AuxiliaryDataModule), (1, PointClouds)])
def test_yaml_of_the_documentation(number: int, kind: type) -> None:
    text = (Path(__file__).parents[2] / "docs/zero_shot_data.md").read_text()
    block = yaml.safe_load(text.split("```yaml")[number + 1].split("```")[0])
    Path("config.yaml").write_text(yaml.safe_dump({"data": block["data"]}))
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--config", action="config")
    parser.add_subclass_arguments(AnomalibDataModule, "data", required=False, fail_untyped=False)
    assert type(parser.instantiate_classes(parser.parse_args(["--config=config.yaml"])).data) is kind


def test_arguments_parse_as_on_anomalibs_command_line(root: Path, tmp_path: Path) -> None:
    write_toy3d(tmp_path / "toy", "ring", size=(64, 64), train=1, validation=1, good=1, defects=1, progress=False)
    arguments = [
        "--data=anomalib_clip3dad.data.AuxiliaryDataModule",
        "--data.source=anomalib_clip3dad.data.MVTec3DXYZ",
        f"--data.source.root={root}",
        "--data.source.category=rope",
        "--data.target=anomalib_clip3dad.data.MVTec3DXYZ",
        f"--data.target.root={tmp_path / 'toy'}",
    ]
    data = from_command_line(arguments)
    data.setup()
    assert set(data.test_data.samples.category) == {"ring"}
    assert isinstance(data.train_data[0].image, torch.Tensor)
