# SPDX-License-Identifier: Apache-2.0
import pytest

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
