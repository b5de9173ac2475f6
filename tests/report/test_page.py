# SPDX-License-Identifier: Apache-2.0
"""What the page holds, and that a browser shows it."""

import base64
import csv
import io
import json
import re
import shutil
import subprocess
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from anomalib_clip3dad.errors import MissingFileError
from anomalib_clip3dad.report import Surface, surface_of, write_report, write_surface
from anomalib_clip3dad.report.page import packed_picture, packed_surface

from .test_surface import sample

ROWS = [
    ("/data/nut/test/hole/rgb/000.png", "0.900000", "faulty", "hole"),
    ("/data/nut/test/hole/rgb/001.png", "0.300000", "good", "hole"),
    ("/data/nut/test/good/rgb/000.png", "0.100000", "good", "good"),
]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
IN_A_BROWSER = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (Debian: apt install chromium)")
# virtual time must not outrun the unpacking, which takes real time
BUSY = """<script>setInterval(() => { for (let i = 0, x = 0; i < 3e6; i += 1) x += Math.sqrt(i); }, 20)</script>"""
DRAG = """<script>setTimeout(() => { const part = document.querySelector("canvas.part");
part.dispatchEvent(new PointerEvent("pointermove", { buttons: 1, movementX: 150, movementY: 0 })); }, 6000)</script>"""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of three samples, with panels and surfaces."""
    folder = tmp_path / "nut/v0"
    folder.mkdir(parents=True)
    with (folder / "scores.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file", "score", "label", "kind"), *ROWS])
    (folder / "run.json").write_text('{"model": "Clip3dAdPlus", "threshold": 0.5}')
    for number, (file, *_) in enumerate(ROWS):
        name = "/".join(part for part in Path(file).parts[-4:] if part != "rgb")
        picture = folder / "images" / name
        picture.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (300, 200), (60 * number, 90, 120)).save(picture)
        write_surface(surface_of(*sample()), (folder / "surfaces" / name).with_suffix(".ply"))
    return folder


def content_of(page: Path) -> dict[str, Any]:
    (text,) = re.findall(r"const content = (.*);\n", page.read_text(encoding="utf-8"))
    return json.loads(text.replace("<\\/", "</"))


def test_samples_are_sorted_and_counted(run: Path) -> None:
    content = content_of(write_report(run))
    assert [row["name"] for row in content["scores"]] == ["test/hole/000", "test/hole/001", "test/good/000"]
    assert [row["score"] for row in content["scores"]] == [0.9, 0.3, 0.1]
    assert content["kinds"] == [
        {"kind": "hole", "samples": 2, "faulty": 1, "good": 1, "score": pytest.approx(0.6)},
        {"kind": "good", "samples": 1, "faulty": 0, "good": 1, "score": 0.1},
    ]
    assert (content["title"], content["model"], content["threshold"]) == ("nut/v0", "Clip3dAdPlus", 0.5)
    assert all(sample["picture"] and sample["surface"] for sample in content["samples"])


@pytest.mark.parametrize("above", ["", "../../../"])
def test_a_files_own_image_is_not_taken_for_that_of_the_run(run: Path, tmp_path: Path, above: str) -> None:
    """Files near the root of a disk, or beside the folder that a command ran in."""
    own = tmp_path / "test/hole/000.png"
    own.parent.mkdir(parents=True)
    Image.new("RGB", (300, 200)).save(own)
    file = f"{above}test/hole/000.png" if above else str(own)
    (run / "scores.csv").write_text(f"file,score,label,kind\n{file},0.5,faulty,hole\n")
    content = content_of(write_report(run))
    assert content["scores"][0]["name"] == "test/hole/000"
    assert content["samples"][0]["surface"]
    assert content["samples"][0]["picture"] == packed_picture(run / "images/test/hole/000.png")


def test_relative_paths_may_be_shorter_than_the_names_of_a_run(run: Path) -> None:
    """anomalib names images after the absolute path: `new/rgb/0.png` becomes `images/WHERE/new/0.png`."""
    (run / "scores.csv").write_text("file,score,label,kind\nhole/rgb/000.png,0.5,,\ngood/rgb/001.png,0.4,,\n")
    content = content_of(write_report(run))
    assert [row["name"] for row in content["scores"]] == ["test/hole/000", "good/001"]
    assert content["samples"][0]["surface"]
    # there is no image of this one, and another's is not taken for it
    assert content["samples"][1] == {"picture": None, "surface": None}


def test_the_highest_scores_are_shown_and_all_are_counted(run: Path) -> None:
    content = content_of(write_report(run, most=1))
    assert len(content["samples"]) == 1
    assert len(content["scores"]) == 3


def test_nothing_is_loaded_from_elsewhere(run: Path) -> None:
    page = write_report(run).read_text(encoding="utf-8")
    assert set(re.findall(r"https?://[^\s\"']+", page)) <= {"http://www.w3.org/2000/svg"}
    assert page.count("</script>") == 1


def test_runs_with_scores_alone_have_a_page_too(run: Path) -> None:
    for folder in ("images", "surfaces"):
        shutil.rmtree(run / folder)
    (run / "run.json").unlink()
    with (run / "scores.csv").open("a") as file:
        file.write("/data/nut/</script>.png,,,\n")
    content = content_of(write_report(run))
    assert content["samples"] == [{"picture": None, "surface": None}] * 4
    assert content["scores"][0] == {"name": "nut/</script>", "score": None, "label": "", "kind": ""}
    assert content["threshold"] is None


def test_a_folder_without_scores_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"scores\.csv: no such table of scores; give the folder of a"):
        write_report(tmp_path)


def test_surfaces_are_unpacked_to_what_they_were() -> None:
    surface = surface_of(*sample())
    packed = packed_surface(surface)
    assert packed is not None
    raw, n, m = zlib.decompress(base64.b64decode(packed["data"])), packed["points"], packed["faces"]
    assert len(raw) == 6 * n + 3 * n + n + 6 * m
    places = np.frombuffer(raw, "<u2", 3 * n).reshape(3, n).T
    size = (surface.points.max(axis=0) - surface.points.min(axis=0)).max()
    middle = (surface.points.max(axis=0) + surface.points.min(axis=0)) / 2
    assert np.abs((places.astype(float) - 32767) / 65534 * size + middle - surface.points).max() < size / 65534 + 1e-7
    assert np.array_equal(np.frombuffer(raw, np.uint8, 3 * n, 6 * n).reshape(3, n).T, surface.colours)
    assert np.abs(np.frombuffer(raw, np.uint8, n, 9 * n) / 255 - surface.scores).max() <= 0.5 / 255 + 1e-6
    assert np.array_equal(np.frombuffer(raw, "<u2", 3 * m, 10 * n).reshape(3, m).T, surface.faces)


def test_what_16_bit_cannot_number_is_left_out() -> None:
    surface = Surface(
        np.random.default_rng(0).random((70000, 3), np.float32),
        np.zeros((70000, 3), np.uint8),
        np.zeros(70000, np.float32),
        np.array([[0, 1, 65535], [0, 1, 65536]], np.int32),
    )
    packed = packed_surface(surface)
    assert packed is not None
    assert (packed["points"], packed["faces"]) == (65536, 1)
    assert packed_surface(surface._replace(faces=surface.faces[1:])) is None


def test_pictures_are_no_wider_than_a_page(tmp_path: Path) -> None:
    Image.new("RGB", (2000, 1000), (200, 20, 20)).save(tmp_path / "a.png")
    packed = packed_picture(tmp_path / "a.png")
    with Image.open(io.BytesIO(base64.b64decode(packed.partition(",")[2]))) as found:
        assert found.size == (860, 430)
        assert np.abs(np.asarray(found)[100, 100].astype(int) - [200, 20, 20]).max() < 6


def browse(page: Path, *arguments: str) -> str:
    command = [CHROMIUM or "", "--headless", "--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader"]
    command += ["--enable-unsafe-swiftshader", "--hide-scrollbars", "--window-size=1200,900", *arguments]
    ended = subprocess.run([*command, f"file://{page}"], capture_output=True, text=True, timeout=120, check=True)  # noqa: S603
    return ended.stdout


@pytest.mark.slow
@IN_A_BROWSER
def test_a_browser_shows_tables_and_samples_without_an_error(run: Path) -> None:
    shown = browse(write_report(run), "--virtual-time-budget=8000", "--dump-dom")
    assert "data-error" not in shown
    assert "1 of 3 samples labelled faulty, threshold 0.500." in shown
    assert shown.count('class="part"') == 3
    assert shown.count('<img src="data:image/jpeg') == 3
    assert re.search(r"<td>faulty</td><td>1</td><td>1</td>", shown)
    assert re.search(r"<td>good</td><td>0</td><td>1</td>", shown)


@pytest.mark.slow
@IN_A_BROWSER
def test_the_part_is_drawn_and_turned(run: Path, tmp_path: Path) -> None:
    text = write_report(run).read_text(encoding="utf-8")
    pictures = []
    for name, more in (("still", BUSY), ("turned", BUSY + DRAG)):
        page, picture = run / f"{name}.html", tmp_path / f"{name}.png"
        page.write_text(text.replace("</html>", f"{more}</html>"), encoding="utf-8")
        browse(page, "--virtual-time-budget=12000", f"--screenshot={picture}")
        pictures.append(np.asarray(Image.open(picture).convert("RGB")).astype(int))
    background = np.array([32, 34, 38])
    for picture in pictures:
        rows, columns = (np.abs(picture - background).max(axis=-1) < 3).nonzero()
        inside = picture[rows.min() : rows.max(), columns.min() : columns.max()]
        drawn = np.abs(inside - background).max(axis=-1) > 30
        assert 0.05 < drawn.mean() < 0.95
    assert np.abs(pictures[0] - pictures[1]).max(axis=-1).mean() > 1
