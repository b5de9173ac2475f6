# SPDX-License-Identifier: Apache-2.0
import argparse
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import train_small_clip
from safetensors import safe_open
from safetensors.torch import save_file
from train_small_clip import Training, _turned, auroc, be_deterministic, release

from anomalib_clip3dad.clip import load_clip, weights


def options(out: Path, model: str, **changes: object) -> argparse.Namespace:
    given = {"out": out, "model": model, "pairs": 48, "batch": 8, "repeats": 2, "rate": 1e-3, "crop": 32, "seed": 0}
    return argparse.Namespace(**(given | {"crop_share": 0.5, "points": 2, "minutes": 10.0, "start": None} | changes))


@pytest.fixture
def run(tiny_clip: str, tmp_path: Path) -> Iterator[argparse.Namespace]:
    be_deterministic()
    yield options(tmp_path / "run", tiny_clip)
    torch.use_deterministic_algorithms(mode=False)


def test_slices_are_one_run_bit_by_bit(run: argparse.Namespace, tmp_path: Path) -> None:
    whole = Training(run)
    for _ in range(5):
        whole.advance()
    for steps in (1, 2, 2):  # stops within a repeat, and where crops become whole images
        run.out = tmp_path / "sliced"
        sliced = Training(run)
        for _ in range(steps):
            sliced.advance()
        sliced.save()
    for (name, one), other in zip(whole.clip.state_dict().items(), sliced.clip.state_dict().values(), strict=True):
        assert torch.equal(one, other), name


def test_checks_change_nothing(run: argparse.Namespace, tmp_path: Path) -> None:
    weights = []
    for run.points, run.out in ((1, tmp_path / "few"), (6, tmp_path / "many")):
        training = Training(run)
        training.run()
        weights.append(training.clip.visual.conv1.weight)
    assert torch.equal(*weights)


def test_twins_are_used_again_turned_with_their_masks(run: argparse.Namespace) -> None:
    training = Training(run)
    first, _ = training.batch()
    training.step = 1
    again, corner = training.batch()
    ways = [(q, m) for q in range(4) for m in (0, 1) if torch.equal(_turned(first.images, q, m), again.images)]
    assert len(ways) == 1
    assert torch.equal(again.masks, _turned(first.masks, *ways[0]))
    assert set(corner) <= {0, 1}  # 2 x 2 patches of a grid of 3 x 3


def test_every_seed_has_pairs_of_its_own(run: argparse.Namespace) -> None:
    one = Training(run).batch()[0]
    run.seed = 1
    assert not torch.equal(one.images, Training(run).batch()[0].images)


@pytest.mark.parametrize("wrong", [{"crop": 40}, {"crop": 64}, {"batch": 7}, {"seed": -1}, {"seed": 128}])
def test_wrong_options(tiny_clip: str, tmp_path: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(SystemExit, match="is needed"):
        Training(options(tmp_path, tiny_clip, **wrong))


def test_other_options_are_another_run(run: argparse.Namespace) -> None:
    Training(run).save()
    run.rate = 2e-3
    with pytest.raises(SystemExit, match=r"begun with other options \(rate\)"):
        Training(run)


def test_training_learns_and_writes_its_curve(run: argparse.Namespace) -> None:
    training = Training(run)
    before = {name: value.clone() for name, value in training.clip.state_dict().items()}
    training.run()
    after = training.clip.state_dict()
    assert all(not torch.equal(after[name], before[name]) for name in ("visual.conv1.weight", "text_projection"))
    assert [point["pairs"] for point in training.curve] == [24, 48]
    header, *rows = (run.out / "curve.csv").read_text().splitlines()
    assert header.split(",")[0] == "pairs"
    assert len(rows) == 2
    assert (run.out / "pairs_00000048.pt").is_file()


def test_large_defects_come_first(run: argparse.Namespace) -> None:
    training = Training(run)
    assert [training.ease(step) for step in (0, 3, 6)] == pytest.approx([1, 0.5, 0])


def test_the_rate_rises_and_falls(run: argparse.Namespace) -> None:
    run.pairs = 8 * 300
    training = Training(run)
    rates = []
    for training.step in range(training.steps):  # noqa: B020 - the rate depends on the step alone
        rates.append(training.rate())
    assert max(rates) == pytest.approx(1e-3)
    assert rates.index(max(rates)) == pytest.approx(10, abs=1)
    assert rates[-1] == pytest.approx(1e-5, rel=0.1)


def test_a_release_is_what_small_loads(
    run: argparse.Namespace, tmp_path: Path, tiny_clip: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = Training(run)
    training.advance()
    training.save()
    file = release(run.out, tmp_path / "small")
    assert hashlib.sha256(file.read_bytes()).hexdigest() in (tmp_path / "small" / "SHA256SUMS").read_text()
    with safe_open(file, "pt") as opened:
        assert opened.metadata()["pairs_seen"] == "8"
    monkeypatch.setattr(weights, "_SMALL", tmp_path / "small")
    loaded = load_clip(tiny_clip, "small").state_dict()
    for name, value in training.clip.state_dict().items():
        assert torch.equal(loaded[name], value.cpu().half().float()), name


def test_a_run_starts_from_the_weights_of_another(run: argparse.Namespace, tmp_path: Path) -> None:
    first = Training(run)
    first.advance()
    first.save()
    run.start = release(run.out, tmp_path / "small")
    with pytest.raises(SystemExit, match="another is needed"):
        Training(options(tmp_path / "same", run.model, start=run.start))
    second = Training(options(tmp_path / "second", run.model, start=run.start, seed=1))
    for (name, one), other in zip(first.clip.state_dict().items(), second.clip.state_dict().values(), strict=True):
        assert torch.equal(one.half().float(), other), name
    assert second.ease(0) == 0.5
    second.advance()
    second.save()
    assert Training(options(tmp_path / "second", run.model, seed=1)).seen == 8 + 8  # goes on without the start
    with safe_open(release(tmp_path / "second", tmp_path / "small"), "pt") as opened:
        assert opened.metadata()["pairs_seen"] == "16"
        assert opened.metadata()["seeds"] == "0 1"


def test_a_start_must_say_how_it_was_trained(run: argparse.Namespace, tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(1)}, tmp_path / "bare.safetensors")
    run.start = tmp_path / "bare.safetensors"
    with pytest.raises(SystemExit, match="does not say how it was trained"):
        Training(run)


def test_auroc_counts_couples() -> None:
    negative, positive = torch.randint(0, 5, (20,)).float(), torch.randint(2, 7, (30,)).float()
    right = sum((p > n).item() + 0.5 * (p == n).item() for n in negative for p in positive)
    assert auroc(negative, positive) == pytest.approx(right / 600)


def test_the_model_of_the_package_is_small_enough() -> None:
    clip, _ = train_small_clip.build("ViT-Ti6-16-240", 0, torch.device("cpu"))
    assert sum(p.numel() for p in clip.visual.parameters()) <= 12e6
    assert 2 * sum(p.numel() for p in clip.state_dict().values()) <= 25e6
