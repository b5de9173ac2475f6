# SPDX-License-Identifier: Apache-2.0
"""What the demo answers, and that a browser shows it."""

import asyncio
import html
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anomalib_clip3dad import errors
from anomalib_clip3dad.command.demo import answer, demo, page, toy_parts
from anomalib_clip3dad.data.listing import list_files
from anomalib_clip3dad.errors import InputError, MissingPackageError
from anomalib_clip3dad.export.metadata import Metadata
from tests.data.conftest import write_parts
from tests.report.test_page import CHROMIUM, IN_A_BROWSER, content_of


class Model:
    """Finds the same in every part."""

    metadata = Metadata("Clip3dAdPlus", "0", "bump", [], 0.4, 0.4, "", None)

    def __call__(self, image: np.ndarray, xyz: np.ndarray) -> dict[str, np.ndarray]:
        assert image.shape == xyz.shape == (1, 3, 48, 48)
        anomaly_map = np.full((1, 24, 24), 0.75, np.float32)
        return {
            "pred_score": np.array([0.8], np.float32),
            "pred_label": np.array([True]),
            "anomaly_map": anomaly_map,
            "pred_mask": anomaly_map > 0.5,
        }


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    write_parts(tmp_path / "new", 2)
    return tmp_path / "new"


def test_the_answer_has_verdict_map_and_surface(parts: Path, tmp_path: Path) -> None:
    verdict, frame = answer(Model(), list_files(parts).samples[0], None)
    assert verdict == "**faulty**, score 0.800"
    (text,) = re.findall(r'srcdoc="([^"]*)"', frame)
    (tmp_path / "page.html").write_text(html.unescape(text))
    (sample,) = content_of(tmp_path / "page.html")["samples"]
    assert sample["picture"]
    assert sample["surface"]["faces"] > 100
    assert "h1, #said, .top { display: none }" in html.unescape(text)


def test_what_cannot_be_read_is_said(parts: Path) -> None:
    (parts / "rgb/000.png").write_bytes(b"cut short")
    verdict, frame = answer(Model(), list_files(parts).samples[0], None)
    assert verdict.startswith(f"**cannot be judged**: {parts / 'rgb/000.png'}: unreadable image")
    assert not frame


def test_without_gradio_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(errors.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingPackageError, match=r"gradio: not installed; the demo needs pip .*\[demo\]'"):
        demo(tmp_path / "model.onnx")


@pytest.mark.slow
def test_examples_are_toy_parts_or_ones_own(tmp_path: Path) -> None:
    kinds = {path.name for path in toy_parts(tmp_path).iterdir()}
    assert kinds == {"good", "colour", "combined", "geometry", "missing"}
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError):
        page(Model(), tmp_path / "empty")


async def look(port: int, address: str) -> str:
    """Open a page in Chromium, wait for the part, and give the verdict; an error of the page is raised."""
    import aiohttp  # noqa: PLC0415  # comes with gradio's tests alone

    part = "document.querySelector('iframe')?.contentDocument?.querySelector('canvas.part') && document.body.innerText"
    async with aiohttp.ClientSession() as session:
        for _ in range(100):
            try:
                async with session.put(f"http://127.0.0.1:{port}/json/new?{address}") as response:
                    target = await response.json()
                break
            except aiohttp.ClientError:
                await asyncio.sleep(0.3)
        async with session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as socket:
            for number in range(200):
                ask: dict[str, Any] = {"id": number, "method": "Runtime.evaluate", "params": {"expression": part}}
                await socket.send_json(ask)
                found = (await socket.receive_json())["result"]["result"].get("value")
                if found:
                    return found
                await asyncio.sleep(0.3)
    msg = "no part within a minute"
    raise AssertionError(msg)


@pytest.mark.slow
@IN_A_BROWSER
def test_a_browser_shows_the_first_example(parts: Path, tmp_path: Path) -> None:
    blocks = page(Model(), parts)
    _, address, _ = blocks.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True)
    command = [CHROMIUM or "", "--headless", "--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader"]
    command += ["--enable-unsafe-swiftshader", "--remote-debugging-port=0", f"--user-data-dir={tmp_path / 'browser'}"]
    browser = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603
    try:
        place = tmp_path / "browser/DevToolsActivePort"
        for _ in range(200):
            if place.is_file() and place.read_text():
                break
            time.sleep(0.1)
        shown = asyncio.run(look(int(place.read_text().split()[0]), address))
    finally:
        browser.kill()
        blocks.close()
    assert "faulty, score 0.800" in shown
