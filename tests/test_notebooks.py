# SPDX-License-Identifier: Apache-2.0
"""The notebooks: run with little, and committed as they were run at length (`make notebooks`)."""

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "notebooks"
LITTLE = {  # in place of the cell that says how large the run is
    "quickstart": "max_steps = 2\nsize = (64, 80)\n"
    'parts = {"num_train": 4, "num_validation": 1, "num_good": 1, "num_defects": 1}',
    "own_parts": "size = (64, 80)\nnum_normal = 5\nnum_new = 1",
    "zero_shot": "size = (64, 80)\nnum_good = 1\nnum_defects = 1",
    "compare": 'size = (64, 80)\nparts = {"num_train": 1, "num_validation": 1, "num_good": 1, "num_defects": 1}\n'
    'models = [{"name": "BTF", "class_path": "anomalib_clip3dad.models.Btf", "init_args": {"mode": "fpfh"}}]',
}
SAID = {
    "quickstart": ["step 2 of 2: segmentation loss", "exported/weights/onnx/model.onnx", "from the model"],
    "own_parts": ["No fault found.", "XYZ must be metres", "colour_000.png"],
    "compare": ["image_AUROC", "fit_seconds"],
    "zero_shot": ["good_000.png", "AUROC "],
}


def outputs(notebook: Any) -> list[Any]:
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def text_of(notebook: Any) -> str:
    found = outputs(notebook)
    return "".join(output.get("text", "") + str(output.get("data", {})) for output in found)


def images_of(notebook: Any) -> int:
    return sum(kind.startswith("image/") for output in outputs(notebook) for kind in output.get("data", {}))


def test_every_notebook_is_tested() -> None:
    assert {path.stem for path in FOLDER.glob("*.ipynb")} == set(LITTLE) == set(SAID)


@pytest.mark.parametrize("name", LITTLE)
def test_they_can_be_read_without_running(name: str) -> None:
    file = FOLDER / f"{name}.ipynb"
    notebook = nbformat.read(file, as_version=4)
    assert file.stat().st_size < 1e6
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert images_of(notebook) >= 1
    assert not any(output.output_type == "error" or output.get("name") == "stderr" for output in outputs(notebook))
    assert "/root" not in text_of(notebook)
    assert "/home" not in text_of(notebook)


@pytest.mark.slow
@pytest.mark.parametrize("name", LITTLE)
def test_they_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    (cell,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ())]
    cell.source = LITTLE[name]
    committed = images_of(notebook)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": tmp_path}}).execute()
    assert not [said for said in SAID[name] if said not in text_of(notebook)]
    assert images_of(notebook) == committed
