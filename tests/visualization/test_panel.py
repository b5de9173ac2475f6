# SPDX-License-Identifier: Apache-2.0
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from anomalib.loggers.base import ImageLoggerBase
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from pandas import DataFrame
from PIL import Image

from anomalib_clip3dad.errors import InputError
from anomalib_clip3dad.models import Btf, Clip3dAd
from anomalib_clip3dad.visualization import DepthVisualizer, draw_panel
from anomalib_clip3dad.visualization.panel import heading, threshold_of
from tests.conftest import depth_batch

from .test_tiles import sample


class Logger(ImageLoggerBase):
    def __init__(self) -> None:
        self.names: list[str] = []

    def add_image(self, image: Any, name: str | None = None, **kwargs: Any) -> None:
        assert isinstance(image, Figure)
        assert kwargs == {"global_step": 7}
        self.names.append(name or "")


def shown(panel: Figure) -> list[Bbox]:
    """What is drawn: titles and heading, and each place or bar with its labels."""
    renderer = panel.canvas.get_renderer()
    return [text.get_window_extent(renderer) for text in panel.texts] + [
        place.get_tightbbox(renderer) for place in panel.axes
    ]


@pytest.mark.parametrize("columns", [1, 2, 6])
def test_nothing_is_clipped_and_nothing_overlaps(columns: int) -> None:
    long = f"/data/{'a_long_name_' * 6}/rgb/{'0123456789' * 4}.png"
    item = sample(image_path=long, pred_score=torch.tensor(0.7), pred_label=torch.tensor(data=True))
    panel = draw_panel(item, columns, 0.5, torch.rand(3, 3, 32, 32))
    panel.canvas.draw()
    boxes = shown(panel)
    whole = panel.bbox
    assert len(boxes) >= 11 + 11 + 6  # titles, tiles, bars
    for box in boxes:
        assert whole.x0 <= box.x0 < box.x1 <= whole.x1
        assert whole.y0 <= box.y0 < box.y1 <= whole.y1
    for one, other in combinations(boxes, 2):
        common = Bbox.intersection(one, other)
        assert common is None or common.width < 1 or common.height < 1, (one, other)


def test_tiles_stand_in_rows() -> None:
    wide, narrow = (draw_panel(sample(), columns) for columns in (8, 2))
    assert wide.get_size_inches()[0] > 3 * narrow.get_size_inches()[0]
    assert narrow.get_size_inches()[1] > 3 * wide.get_size_inches()[1]


def test_the_heading_says_what_was_found_and_what_is_known() -> None:
    known = {"image_path": "/data/nut/test/hole/rgb/003.png", "gt_label": torch.tensor(data=True)}
    item = sample(pred_score=torch.tensor(0.25), pred_label=torch.tensor(data=False), **known)
    assert heading(item, 0.5) == ["test/hole/003.png", "score 0.250, threshold 0.500: good, truth: hole"]
    assert heading(item) == ["test/hole/003.png", "score 0.250, truth: hole"]
    assert heading(sample(gt_label=torch.tensor(data=True))) == ["truth: faulty"]
    assert heading(sample()) == []


def test_the_threshold_is_that_of_the_shown_scores(tiny_clip: str) -> None:
    model = Clip3dAd(tiny_clip, None, "nut")
    assert threshold_of(model) is None
    model.post_processor._image_threshold.fill_(0.3)
    assert threshold_of(model) == 0.5
    model.post_processor.enable_normalization = False
    assert threshold_of(model) == pytest.approx(0.3)


def test_one_panel_for_each_sample_of_each_kind_and_for_the_loggers(tmp_path: Path) -> None:
    batch = depth_batch(3)
    batch.image_path = [str(tmp_path / f"mvtec/tire/test/{kind}/rgb/000.png") for kind in ("good", "hole", "cut")]
    for path in batch.image_path:
        Path(path).parent.mkdir(parents=True)
        Image.new("RGB", (48, 48)).save(path)
    batch.anomaly_map = torch.rand(3, 48, 48)
    logger = Logger()
    trainer = SimpleNamespace(default_root_dir=tmp_path / "out", loggers=[logger, object()], global_step=7)
    DepthVisualizer(columns=2).on_test_batch_end(trainer, None, None, batch, 0)
    expected = ["test/cut/000.png", "test/good/000.png", "test/hole/000.png"]
    folder = tmp_path / "out" / "images"
    assert sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*.png")) == expected
    assert sorted(logger.names) == expected


def test_samples_of_several_categories_have_names_of_their_own(tmp_path: Path) -> None:
    batch = depth_batch(2)
    batch.image_path = [f"toy/{category}/test/good/rgb/000.png" for category in ("gear", "ring")]
    data = SimpleNamespace(test_data=SimpleNamespace(samples=DataFrame({"category": ["gear", "ring"]})))
    trainer = SimpleNamespace(loggers=[], datamodule=data)
    DepthVisualizer(output_dir=tmp_path).on_test_batch_end(trainer, None, None, batch, 0)
    found = sorted(file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*.png"))
    assert found == ["gear/test/good/000.png", "ring/test/good/000.png"]


def test_samples_without_a_file_are_numbered(tmp_path: Path) -> None:
    batch = depth_batch(2)
    batch.image_path = None
    DepthVisualizer(output_dir=tmp_path).on_predict_batch_end(SimpleNamespace(loggers=[]), None, None, batch, 3)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["003_000.png", "003_001.png"]


def test_views_are_drawn_if_asked_for_and_there(tmp_path: Path, tiny_clip: str) -> None:
    trainer = SimpleNamespace(loggers=[])
    heights = []
    backbone = {"backbone": "resnet10t", "layers": ["layer2"], "pre_trained": False}
    models: list[Any] = [Clip3dAd(tiny_clip, None, "nut", views=[5, 9]), Btf(**backbone)]
    for number, (model, asked) in enumerate([(models[0], True), (models[0], False), (models[1], True)]):
        folder = tmp_path / str(number)
        DepthVisualizer(1, asked, folder).on_test_batch_end(trainer, model, None, depth_batch(1))
        (file,) = folder.rglob("*.png")
        with Image.open(file) as panel:
            heights.append(panel.height)
    assert heights[0] > heights[1] == heights[2]


def test_no_column_is_refused() -> None:
    with pytest.raises(InputError, match="columns=0: at least 1"):
        DepthVisualizer(columns=0)
