# SPDX-License-Identifier: Apache-2.0
"""Every command and code block of the README and the pages works, or its first line says what it needs: `# needs ...`.

Commands are parsed by the programs themselves, Python is run on small parts, page by page.
"""

import argparse
import ast
import functools
import importlib
import json
import re
import runpy
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jsonargparse
import numpy as np
import pytest
import tifffile
import yaml
from anomalib.cli.cli import AnomalibCLI
from anomalib.engine import Engine
from lightning.pytorch import Trainer
from PIL import Image

from anomalib_clip3dad import command
from anomalib_clip3dad.benchmark.grid import make_jobs
from anomalib_clip3dad.data import Toy3D
from anomalib_clip3dad.data.intrinsics import read_intrinsics
from anomalib_clip3dad.models import Btf, Clip3dAd
from tests.conftest import bumpy_part
from tests.deployed import make_model
from tests.models.clip3d_ad_plus.test_lightning_model import make as make_plus

PROJECT = Path(__file__).parents[1]
PAGES = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]
PROGRAMS = "clip3dad|anomalib|python|make"


class Block(NamedTuple):
    """A fenced block of a page."""

    page: str
    line: int
    language: str
    text: str

    @property
    def is_marked(self) -> bool:
        return self.text.startswith("# needs ")

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def fenced(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = re.finditer(r"^ *```(.*)\n((?:.*\n)*?) *```$", text, re.MULTILINE)
    return [Block(page.name, 1 + text.count("\n", 0, each.start()), each[1], each[2]) for each in found]


BLOCKS = [block for page in PAGES for block in fenced(page)]


def of(language: str) -> Any:
    return pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == language], ids=str)


def commands(block: Block) -> list[str]:
    joined = block.text.replace("\\\n", " ").splitlines()
    return [line for line in joined if shlex.split(line, comments=True)]


INLINE = sorted(
    {
        (page.name, found)
        for page in PAGES
        for found in re.findall(rf"`((?:{PROGRAMS}) [a-z][^`]*)`", page.read_text(encoding="utf-8"))
        if len(found.split()) > 2 or found.startswith("make ")
    }
)


def test_every_block_is_of_a_language_that_is_checked() -> None:
    assert len(BLOCKS) == sum(page.read_text(encoding="utf-8").count("```") for page in PAGES) / 2
    assert {block.language for block in BLOCKS} == {"bash", "python", "yaml", "json", "text"}
    hidden = rf"^(?:{PROGRAMS}|pip|import|from) "
    assert not [str(block) for block in BLOCKS if block.language == "text" and re.search(hidden, block.text, re.M)]


class Parsed(Exception):  # noqa: N818  # no error: the command line has been read
    pass


class Parser(AnomalibCLI):
    """anomalib's command line, which makes nothing of what it reads."""

    def before_instantiate_classes(self) -> None:
        pass

    def instantiate_classes(self) -> None:
        pass


@pytest.fixture(scope="module")
def anomalib() -> jsonargparse.ArgumentParser:
    return Parser(["train", "--config", str(PROJECT / "configs/plus.yaml")], run=False).parser


def and_stop(read: Callable[..., object]) -> Callable[..., None]:
    @functools.wraps(read)
    def stopping(*args: Any, **kwargs: Any) -> None:
        read(*args, **kwargs)
        raise Parsed

    return stopping


def make(*targets: str) -> None:
    there = re.findall(r"^(\w+):", (PROJECT / "Makefile").read_text(), re.MULTILINE)
    assert set(targets) <= set(there), targets


def clip3dad(*words: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jsonargparse, "auto_cli", lambda parts, args, **how: read(parts, **how).parse_args(args) and None)
        read = jsonargparse.auto_parser
        patch.setattr(sys, "argv", ["clip3dad", *words])
        command.main()


def python(script: str, *words: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [script, *words])
        patch.syspath_prepend(str(Path(script).parent))
        patch.setattr(argparse.ArgumentParser, "parse_args", and_stop(argparse.ArgumentParser.parse_args))
        patch.setattr(Clip3dAd, "load_from_checkpoint", and_stop(lambda *_, **__: None))  # what minimal.py starts with
        with pytest.raises(Parsed):
            runpy.run_path(script, run_name="__main__")


@pytest.fixture
def parse(anomalib: jsonargparse.ArgumentParser, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Read a command line as its program does; what it cannot be ends the test."""
    monkeypatch.chdir(PROJECT)

    def of_anomalib(name: str, *words: str) -> None:
        given = [word for word in words if word != "..."]
        rest = ["--config", "configs/plus.yaml"] if len(given) < len(words) and "--config" not in words else []
        anomalib.parse_args([name, *rest, *given])

    programs: dict[str, Callable[..., None]] = {"make": make, "clip3dad": clip3dad, "python": python}
    programs["anomalib"] = of_anomalib

    def run(line: str) -> None:
        program, *words = shlex.split(line, comments=True)
        assert program in programs, f"{program} is unknown; mark the block with '# needs ...' in its first line"
        try:
            programs[program](*words)
        except SystemExit as end:
            if end.code:
                pytest.fail(f"{line}: {end.code}")

    return run


@of("bash")
def test_commands_are_understood(block: Block, parse: Callable[[str], None]) -> None:
    for line in commands(block):
        if not block.is_marked or re.match(rf"({PROGRAMS}) ", line):
            parse(line)


@pytest.mark.parametrize(("page", "line"), INLINE)
def test_commands_in_the_text_are_understood(page: str, line: str, parse: Callable[[str], None]) -> None:
    assert page
    parse(line)


@pytest.mark.parametrize(
    "line",
    [
        "make tset",
        "clip3dad chek good",
        "clip3dad check good --camera camera.json",
        "clip3dad benchmark --config configs/benchmark/quick.yaml --seed 0",
        "anomalib train --config configs/no.yaml",
        "anomalib train --config configs/plus.yaml --data.normal_dirs good",
        "anomalib predict --config configs/plus.yaml --checkpoint x",
        "python studies/lsfa.py --category gear",
        "python examples/minimal.py CKPT",
    ],
)
def test_a_misspelt_command_is_found(line: str, parse: Callable[[str], None]) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        parse(line)


@of("yaml")
def test_yaml_is_a_config(block: Block, anomalib: jsonargparse.ArgumentParser, tmp_path: Path) -> None:
    settings = yaml.safe_load(block.text)
    if "models" in settings:
        assert make_jobs(**settings)
        return
    (tmp_path / "page.yaml").write_text(block.text)
    anomalib.parse_args(["train", "--config", "page.yaml", "--model", "anomalib_clip3dad.models.GsClip"])


@of("json")
def test_json_is_a_camera(block: Block, tmp_path: Path) -> None:
    (tmp_path / "intrinsics.json").write_text(block.text)
    assert read_intrinsics(tmp_path / "intrinsics.json")._asdict() == json.loads(block.text)


@of("python")
def test_marked_python_is_python_and_its_imports_exist(block: Block) -> None:
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom) and node.module:
            assert all(hasattr(importlib.import_module(node.module), each.name) for each in node.names)


@pytest.fixture(scope="module")
def desk(tiny_clip: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the pages' Python reads: parts, and a model of each kind in its file."""
    folder = tmp_path_factory.mktemp("desk")
    image, xyz = (each.permute(1, 2, 0).numpy() for each in bumpy_part())
    rgb = (255 * image).round().astype(np.uint8)
    for place in ("new", "new/rgb", "new/xyz"):
        (folder / place).mkdir(parents=True, exist_ok=True)
    for name in ("new", "new/rgb/000"):
        Image.fromarray(rgb).save(folder / f"{name}.png")
    for name in ("new", "new/xyz/000"):
        tifffile.imwrite(folder / f"{name}.tiff", xyz, photometric="rgb")
    np.save(folder / "rgb.npy", rgb)
    np.save(folder / "xyz.npy", xyz)

    sizes = {"size": (64, 80), "num_train": 2, "num_validation": 1, "num_good": 1, "num_defects": 1}
    quiet = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}
    bank = Btf("rgb", backbone="resnet10t", pre_trained=False, image_size=64, visualizer=False)
    for model in (bank, make_plus(tiny_clip)):
        engine = Engine(default_root_dir=folder, logger=False, **quiet)
        engine.fit(model, datamodule=Toy3D(folder / "toy", "gear", **sizes, k_shot=1))
        engine.trainer.save_checkpoint(folder / f"{type(model).__name__}.ckpt")
    trainer, steps = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu"), make_model(tiny_clip)
    trainer.strategy.connect(steps)
    trainer.save_checkpoint(folder / "Clip3dAd.ckpt")
    shutil.move(bank.to_onnx(folder), folder / "model.onnx")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", sorted({block.page for block in BLOCKS if block.language == "python" and not block.is_marked})
)
def test_python_runs(page: str, desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk)
    blocks = [block for block in BLOCKS if (block.page, block.language) == (page, "python") and not block.is_marked]
    for kind in re.findall(r"(\w+)\.load_from_checkpoint", "".join(block.text for block in blocks)):
        shutil.copy(f"{kind}.ckpt", "model.ckpt")
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block.text, str(block), "exec"), names)  # noqa: S102
