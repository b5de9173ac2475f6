# SPDX-License-Identifier: Apache-2.0
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
from lsfa import jobs, tables
from rich.console import Console

from anomalib_clip3dad.benchmark.store import Store

NAMES = ["no adaptation", "CLC", "IFC", "LSFA", "BTF", "PatchCore"]
ARGUMENTS: dict[str, Any] = {"categories": ["gear", "knob"], "k_shot": [1, 4], "seeds": [0, 1]}
ARGUMENTS |= {"config": "lsfa.yaml", "settings": {}, "only": NAMES}


def arguments(**changes: Any) -> Namespace:
    return Namespace(**(ARGUMENTS | {"root": Path("datasets/Toy3D")} | changes))


def test_each_loss_alone_and_both_on_the_same_shots_as_the_others() -> None:
    asked = jobs(arguments())
    assert [job.name for job in asked[::2]][:6] == NAMES
    assert len({job.key for job in asked}) == len(asked) == 6 * 2 * 2 * 2
    by_name = {job.name: job.init_args for job in asked}
    switches = [(by_name[name]["clc"], by_name[name]["ifc"]) for name in NAMES[:4]]
    assert switches == [(False, False), (True, False), (False, True), (True, True)]
    for name in NAMES[:4]:
        own = {key: value for key, value in by_name[name].items() if key not in {"clc", "ifc"}}
        assert own == {key: value for key, value in by_name["LSFA"].items() if key not in {"clc", "ifc"}}
    assert by_name["BTF"] == by_name["PatchCore"]
    assert {by_name[name]["backbone"] for name in NAMES} == {"tf_efficientnet_lite0"}


def test_settings_are_those_of_lsfa_alone_and_models_can_be_chosen() -> None:
    asked = jobs(arguments(settings={"cloud_features": "fpfh"}, only=["LSFA", "BTF"]))
    assert [job.name for job in asked[::2]][:2] == ["LSFA", "BTF"]
    assert len(asked) == 2 * 2 * 2 * 2
    assert asked[0].init_args["cloud_features"] == "fpfh"
    assert all("cloud_features" not in job.init_args for job in asked if job.name == "BTF")


@pytest.mark.parametrize(("category", "kind"), [("gear", "Toy3D"), ("cable_gland", "MVTec3DXYZ")])
def test_toy_parts_or_a_folder(category: str, kind: str) -> None:
    (job, *_) = jobs(arguments(categories=[category]))
    assert job.data_class_path == f"anomalib_clip3dad.data.{kind}"
    assert ("num_good" in job.data_init_args) == (kind == "Toy3D")


def test_tables_show_what_is_finished(tmp_path: Path) -> None:
    asked, store = jobs(arguments(k_shot=[1])), Store(tmp_path)
    cost = {"fit_seconds": 10.0, "samples_per_second": 2.0, "peak_cpu_bytes": 3 << 20}
    for job in asked:
        if job.name == "CLC" or (job.name == "IFC" and job.seed == 0):
            score = 0.5 + 0.2 * job.seed + 0.1 * (job.category == "knob")
            store.save(job, {"image_AUROC": score, "pixel_AUPRO": 0.5, **cost})
    console = Console(width=120, record=True, quiet=False, file=(tmp_path / "out").open("w"))
    for table in tables(asked, store):
        console.print(table)
    text = console.export_text()
    assert "0.650 ± 0.141" in text
    assert "0.500 ± 0.000" in text
    assert "CLC" in text
    assert "IFC" not in text
