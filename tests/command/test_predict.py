# SPDX-License-Identifier: Apache-2.0
import csv
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from anomalib_clip3dad.command.predict import predict
from anomalib_clip3dad.errors import InputError
from tests.data.conftest import write_parts
from tests.deployed import FIXED, Deployed

# the command, and then which of these it has imported
SCRIPT = """
import sys
from anomalib_clip3dad.command import main
try:
    main()
finally:
    print("imported:", *sorted({"torch", "anomalib", "lightning", "pandas"} & sys.modules.keys()))
"""


def clip3dad(*arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", SCRIPT, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603


def scores(folder: Path) -> list[float]:
    with (folder / "scores.csv").open(newline="") as file:
        return [float(row["score"]) for row in csv.DictReader(file)]


@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_an_exported_model_needs_neither_torch_nor_anomalib(deployed: Deployed, name: str, tmp_path: Path) -> None:
    write_parts(tmp_path / "new", 2, size=FIXED)
    ended = clip3dad("predict", getattr(deployed, name), tmp_path / "new")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1] == "imported:"
    results = tmp_path / "results/predict/v0"
    assert f"Results: {results} (masks, overlays, report.html, run.json, scores.csv, surfaces)" in ended.stdout
    expected = [
        deployed.model.predict(tmp_path / f"new/rgb/00{i}.png", tmp_path / f"new/xyz/00{i}.npy").pred_score.item()
        for i in range(2)
    ]
    assert scores(results) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("arguments", [(), ("--help",)])
def test_help_imports_nothing_that_takes_long(arguments: tuple[str, ...]) -> None:
    ended = clip3dad(*arguments)
    assert ended.returncode == 0
    assert "predict    judge every part of a folder" in ended.stdout
    assert ended.stdout.splitlines()[-1] == "imported:"


def test_an_unknown_command_is_named() -> None:
    ended = clip3dad("predcit")
    assert ended.returncode == 1
    assert ended.stderr.strip() == "error: predcit: no such command"


def test_parts_that_cannot_be_judged_are_counted(
    deployed: Deployed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_parts(tmp_path / "new", 2)
    (tmp_path / "new/rgb/001.png").write_bytes(b"cut short")
    (tmp_path / "new/rgb/002.png").write_bytes((tmp_path / "new/rgb/000.png").read_bytes())  # without a 3D file
    assert predict(deployed.onnx, tmp_path / "new") == 2
    assert "2 could not be judged" in capsys.readouterr().out


def test_no_result_is_written_over(deployed: Deployed, tmp_path: Path) -> None:
    write_parts(tmp_path / "new", 1)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/scores.csv").write_text("mine")
    with pytest.raises(InputError, match="there are files in it"):
        predict(deployed.onnx, tmp_path / "new", tmp_path / "out")
    predict(deployed.onnx, tmp_path / "new")
    predict(deployed.onnx, tmp_path / "new")
    assert sorted(path.name for path in Path("results/predict").iterdir()) == ["v0", "v1"]


def test_parts_that_arrive_are_judged_until_interrupted(deployed: Deployed, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    command = [sys.executable, "-c", SCRIPT, "predict", str(deployed.onnx), str(tmp_path / "new"), "--watch"]
    table = tmp_path / "results/predict/v0/scores.csv"
    watching = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603
    try:
        write_parts(tmp_path / "new", 2)
        for _ in range(600):
            if table.is_file() and len(table.read_text().splitlines()) == 3:
                break
            time.sleep(0.1)
        watching.send_signal(signal.SIGINT)
        said = watching.communicate(timeout=60)[0]
    finally:
        watching.kill()
    assert "of 2 samples labelled faulty." in said
    assert len(scores(table.parent)) == 2


def test_wrong_arguments_leave_no_folder(deployed: Deployed, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for arguments, message in (
        ({"folder": tmp_path / "empty"}, "no image with a 3D file of the same name"),
        ({"folder": tmp_path / "nowhere"}, "no such folder"),
        ({"folder": tmp_path / "empty", "watch": True, "runner": "ray"}, "leave out --runner ray"),
    ):
        with pytest.raises(InputError, match=message):
            predict(deployed.onnx, **arguments)
    assert not Path("results").exists()
