# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from anomalib_clip3dad.benchmark import published as published_module
from anomalib_clip3dad.benchmark.published import CATEGORIES, published, read_table

# Table 2 prints 56.5 for EasyNet at 4 shots, and Table 3 repeats it; its own ten categories have a mean of 59.45.
PAPER = "clip3d_ad"
EXCEPTIONS = {(2, "EasyNet", 4)}


@pytest.mark.parametrize("number", [1, 2])
def test_means_are_those_of_the_rows(number: int) -> None:
    table = read_table(PAPER, number)
    assert list(table.columns[3:]) == [*CATEGORIES, "mean"]
    assert len(table) == 15
    apart = (table[list(CATEGORIES)].mean(axis=1) - table["mean"]).abs()
    wrong = table[apart > 0.0501]  # printed to a tenth
    assert {(number, method, k) for method, k in zip(wrong.method, wrong.k_shot, strict=True)} == {
        exception for exception in EXCEPTIONS if exception[0] == number
    }


@pytest.mark.parametrize(("number", "metric"), [(1, "image_AUROC"), (2, "pixel_AUPRO")])
def test_table_3_repeats_the_means(number: int, metric: str) -> None:
    means = read_table(PAPER, number).set_index(["method", "k_shot"])["mean"]
    assert read_table(PAPER, 3).set_index(["method", "k_shot"])[metric].to_dict() == means.to_dict()


@pytest.mark.parametrize(
    ("number", "method"), [(5, "w Multi-view"), (6, "{6, 9, 12}"), (7, "{5, 9, 14, 19, 27}"), (4, "Ours")]
)
def test_full_model_is_the_same_everywhere(number: int, method: str) -> None:
    full = read_table(PAPER, 3).set_index(["method", "k_shot"]).loc["Ours"]
    table = read_table(PAPER, number)
    rows = (
        table[(table.method == method) & (table.k_shot.astype(str) != "full")]
        .astype({"k_shot": int})
        .set_index("k_shot")
    )
    assert len(rows) == 3
    assert rows.drop(columns="method").to_dict() == full[list(rows.columns[1:])].to_dict()


def test_look_up() -> None:
    assert published("clip3d_ad/Patchcore+FPFH", 4, "rope", "pixel_AUPRO") == 91.2
    assert published("clip3d_ad/Ours", 2, "mean", "image_AUROC_std") == 2.3
    assert published("clip3d_ad/w/o Multi-view", 1, "mean", "image_AUPR") == 88.3
    assert published("clip3d_ad/Ours", 1, "bagel", "image_AUPR") is None
    assert published("clip3d_ad/AST", 1, "mean", "image_AUROC_std") is None
    assert published(None, 1, "mean", "image_AUROC") is None


def test_lsfa_says_where_each_row_is_from_and_its_means_agree() -> None:
    table, ablation = read_table("lsfa", 1), read_table("lsfa", 2)
    assert ((table[list(CATEGORIES)].mean(axis=1) - table["mean"]).abs() <= 0.0501).all()
    assert table.source.str.contains("memory|summary").all()
    assert ablation.source.str.contains("summary").all()
    whole = table[table.method == "LSFA"].set_index("metric")["mean"]
    full = ablation.set_index("method").loc["LSFA"]
    assert [full.image_AUROC, full.pixel_AUPRO] == [whole.image_AUROC, whole.pixel_AUPRO]


def test_numbers_of_all_normal_parts_stand_beside_no_few_shots() -> None:
    assert set(read_table("lsfa", 1).k_shot) == set(read_table("lsfa", 2).k_shot) == {"full"}
    assert all(published("lsfa/LSFA", k_shot, "mean", "image_AUROC") is None for k_shot in (1, 2, 4))


@pytest.mark.parametrize("folder", ["gs_clip", "gs_clip_eyecandies", "gs_clip_real3d", "gs_clip_shapenet"])
def test_gs_clip_says_where_each_row_is_from(folder: str) -> None:
    files = sorted((Path(published_module.__file__).parent / "tables" / folder).glob("table*.csv"))
    assert files
    for number, _ in enumerate(files, start=1):
        table = read_table(folder, number)
        assert table.source.str.contains("summary|tables|quoted").all()
        assert (table.k_shot == 0).all()
        numbers = table.drop(columns=["method", "k_shot", "source"])
        assert ((numbers > 10) & (numbers < 100) | numbers.isna()).all(axis=None)
        assert not table.method.duplicated().any()


def test_gs_clip_ends_its_ablation_and_gains_what_it_claims() -> None:
    whole, ablation = (read_table("gs_clip", number).set_index("method").loc["GS-CLIP"] for number in (1, 2))
    assert whole.drop("source").to_dict() == ablation.drop("source").to_dict()
    folders = ("gs_clip", "gs_clip_eyecandies", "gs_clip_real3d", "gs_clip_shapenet")
    gains = []
    for folder in folders:
        ours, before = (published(f"{folder}/{name}", 0, "mean", "image_AUROC") for name in ("GS-CLIP", "PointAD"))
        assert ours is not None
        assert before is not None
        gains.append(ours - before)
    assert sum(gains) / 4 == pytest.approx(1.8, abs=0.0501)
    assert published("gs_clip/GS-CLIP", 0, "mean", "source") is None
