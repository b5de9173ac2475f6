# SPDX-License-Identifier: Apache-2.0
import argparse
import hashlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import train_small_clip
from einops import rearrange
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from small_clip.feed import SEED_STRIDE
from small_clip.pairs import VIEW_SHARE
from train_small_clip import AVERAGE, HELD_OUT, Training, auroc, be_deterministic, check_options, release, show

from anomalib_clip3dad.clip import load_clip, weights


def options(out: Path, model: str, **changes: object) -> argparse.Namespace:
    given = {"out": out, "model": model, "pairs": 48, "batch": 8, "repeats": 2, "rate": 1e-3, "crop": 32, "seed": 0}
    given |= {"crop_share": 0.5, "points": 1, "minutes": 10.0, "start": None, "workers": 0}
    return argparse.Namespace(**(given | changes))


@pytest.fixture
def run(stem_clip: str, tmp_path: Path) -> Iterator[argparse.Namespace]:
    be_deterministic()
    yield options(tmp_path / "run", stem_clip)
    torch.use_deterministic_algorithms(mode=False)


@pytest.fixture(scope="module")
def fresh(stem_clip: str, tmp_path_factory: pytest.TempPathFactory) -> Training:
    """A run before its first step, for what does not train on."""
    return Training(options(tmp_path_factory.mktemp("fresh"), stem_clip))


def advance(training: Training, steps: int) -> None:
    for _ in range(steps):
        training.advance(training.twins[training.step])


def stem_of(training: Training) -> torch.nn.Module:
    return training.clip.visual.trunk.patch_embed.stem


def flat(state: Any, name: str = "") -> dict[str, Any]:
    """All that a nested state holds, by its path."""
    if isinstance(state, dict | list | tuple):
        entries = state.items() if isinstance(state, dict) else enumerate(state)
        return {path: value for key, each in entries for path, value in flat(each, f"{name}.{key}").items()}
    return {name: state}


@pytest.fixture(scope="module")
def finished(stem_clip: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folders of one run of four steps, two on crops: undisturbed; killed and resumed, with more points."""
    be_deterministic()
    whole, sliced = (options(tmp_path_factory.mktemp("run"), stem_clip, pairs=32) for _ in range(2))
    whole.workers, sliced.points = 1, 2
    Training(whole).run()
    for sliced.minutes in (0.0, 0.0, 10.0, 10.0):  # one step, one more, all that are left, none
        training = Training(sliced)
        training.run()
        if training.step == 1:  # killed: what it does after its first slice is lost
            advance(Training(sliced), 2)
    torch.use_deterministic_algorithms(mode=False)
    return whole.out, sliced.out


@pytest.mark.slow
def test_killed_and_resumed_it_ends_as_if_undisturbed(finished: tuple[Path, Path]) -> None:
    states = [torch.load(out / "training.pt", weights_only=True) for out in finished]
    assert [len(state.pop("curve")) for state in states] == [1, 2]
    whole, pieces = map(flat, states)
    assert whole.keys() == pieces.keys()
    assert whole[".step"] == pieces[".step"] == 4
    assert sum(isinstance(value, torch.Tensor) for value in whole.values()) > 100
    for name, value in whole.items():
        assert torch.equal(value, pieces[name]) if isinstance(value, torch.Tensor) else value == pieces[name], name


def test_wrong_options(run: argparse.Namespace) -> None:
    for wrong in ({"crop": 40}, {"crop": 64}, {"crop": 0}, {"batch": 7}, {"batch": 2}, {"seed": -1}, {"seed": 128}):
        with pytest.raises(SystemExit, match=f"{next(iter(wrong.values()))}: .* is needed"):
            check_options(options(run.out, run.model, **wrong), 48)
    for right in ({"crop": 48}, {"crop": 16}, {"batch": 4}, {"seed": 127}):
        check_options(options(run.out, run.model, **right), 48)
    with pytest.raises(SystemExit, match="is needed"):
        Training(options(run.out, run.model, crop=64))


def test_other_options_are_another_run(fresh: Training, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh.save()
    monkeypatch.setattr(fresh.options, "rate", 2e-3)
    with pytest.raises(SystemExit, match=r"started with other options \(rate\)"):
        fresh._resume()


def test_no_seed_trains_on_what_is_held_out() -> None:
    assert 128 * SEED_STRIDE < HELD_OUT - 2
    assert HELD_OUT < 2**32  # a CPU's generator reads no more


def test_it_writes_its_curve_and_the_weights_of_each_point(finished: tuple[Path, Path]) -> None:
    out = finished[1]
    state = torch.load(out / "training.pt", weights_only=True)
    assert [point["pairs"] for point in state["curve"]] == [16, 32]
    header, *rows = (out / "curve.csv").read_text().splitlines()
    names = header.split(",")
    assert names[0] == "pairs"
    shares = [f"{look}{kind}_auroc" for look in ("", "views_", "photos_") for kind in ("image", "patch")]
    assert set(shares) < set(names)
    assert [[float(value) for value in row.split(",")] for row in rows] == [
        [*point.values()] for point in state["curve"]
    ]
    assert all(0 <= point[share] <= 1 for point in state["curve"] for share in shares)
    last = torch.load(out / "pairs_00000032.pt", weights_only=True)
    assert (out / "pairs_00000016.pt").is_file()
    assert last.keys() == {name.removeprefix("module.") for name in state["average"]} - {"n_averaged"}
    for name, value in last.items():
        assert torch.equal(value, state["average"][f"module.{name}"].half()), name


def test_the_same_twins_again_and_again_are_learned_and_the_stem_stays(run: argparse.Namespace) -> None:
    run.pairs = 8 * 40
    training = Training(run)
    frozen = [value.clone() for value in stem_of(training).buffers()]
    assert sum(value.numel() for value in frozen) > 500_000
    seen = training.twins[0]
    losses = [training.advance(seen).total().item() for _ in range(12)]
    assert losses[-1] < 0.5 * losses[0]
    assert all(torch.equal(one, other) for one, other in zip(frozen, stem_of(training).buffers(), strict=True))


def test_the_rate_rises_and_falls(fresh: Training, monkeypatch: pytest.MonkeyPatch) -> None:
    rates = []
    for step in range(300):
        monkeypatch.setattr(fresh, "steps", 300)
        monkeypatch.setattr(fresh, "step", step)
        rates.append(fresh.rate())
    assert rates[:10] == pytest.approx([1e-4 * k for k in range(1, 11)])
    halfway = 10 + 145
    assert rates[halfway] == pytest.approx(1e-3 * (0.01 + 0.99 / 2))
    assert max(rates) == pytest.approx(1e-3)
    assert all(one >= other for one, other in itertools.pairwise(rates[10:]))
    assert rates[-1] == pytest.approx(1e-5, rel=0.1)


def test_the_stem_is_neither_saved_nor_given_to_the_optimiser(fresh: Training, finished: tuple[Path, Path]) -> None:
    given = [p for group in fresh.optimiser.param_groups for p in group["params"]]
    assert sorted(map(id, given)) == sorted(map(id, fresh.clip.parameters()))
    assert not {p.data_ptr() for p in given} & {value.data_ptr() for value in stem_of(fresh).buffers()}
    assert not any(value.requires_grad for value in stem_of(fresh).buffers())
    saved = flat(torch.load(finished[0] / "training.pt", weights_only=True))
    assert not [name for name in saved if "stem" in name]
    # the model, its average, two moments; mean and standard deviation of the features twice; a count per parameter
    numbers = sum(value.numel() for value in saved.values() if isinstance(value, torch.Tensor))
    assert numbers == 4 * sum(p.numel() for p in given) + 2 * 2 * 656 + len(given) + 1


def test_a_run_starts_on_standardised_features(fresh: Training) -> None:
    features = fresh.twins.read(fresh.twins.draw(5, 128, crop=True).images).flatten(0, 1)
    embed = fresh.clip.visual.trunk.patch_embed
    channels = (features.permute(0, 2, 3, 1).flatten(0, 2) - embed.mean) / embed.std
    assert channels.mean(0).abs().median() < 0.1  # other pairs than those that it was measured on
    assert channels.std(0).median() == pytest.approx(1, abs=0.1)
    average = fresh.average.module.visual.trunk.patch_embed
    assert torch.equal(average.mean, embed.mean)
    assert torch.equal(average.std, embed.std)


def test_a_release_is_the_average_and_what_small_loads(
    run: argparse.Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = Training(run)
    average: dict[str, torch.Tensor] = {}
    for _ in range(3):
        advance(training, 1)
        for name, value in training.clip.state_dict().items():
            now = value.double()
            average[name] = AVERAGE * average[name] + (1 - AVERAGE) * now if name in average else now
    for name, value in training.average.module.state_dict().items():
        torch.testing.assert_close(value.double(), average[name], rtol=1e-6, atol=1e-7, msg=name)
    training.save()
    file = release(run.out, tmp_path / "small")
    assert file == tmp_path / "small" / f"{run.model}.safetensors"
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert (tmp_path / "small" / "SHA256SUMS").read_text() == f"{digest}  {file.name}\n"
    with safe_open(file, "pt") as opened:
        metadata = opened.metadata()
    assert (metadata["pairs_seen"], metadata["seeds"], metadata["model"]) == ("24", "0", run.model)
    monkeypatch.setattr(weights, "_SMALL", tmp_path / "small")
    released, loaded = load_file(file), load_clip(run.model, "small").state_dict()
    assert released.keys() == loaded.keys() == average.keys()
    for name, value in average.items():
        assert released[name].dtype == torch.float16
        torch.testing.assert_close(released[name].double(), value, rtol=6e-4, atol=1e-7, msg=name)  # half a unit of it
        assert torch.equal(loaded[name], released[name].float()), name
    last = training.clip.state_dict()["text_projection"]
    assert not torch.equal(released["text_projection"], last.half())


def test_a_run_starts_from_the_weights_of_another(
    run: argparse.Namespace, fresh: Training, finished: tuple[Path, Path], tmp_path: Path
) -> None:
    run.start, run.seed = release(finished[0], tmp_path / "small"), 1
    with pytest.raises(SystemExit, match="another is needed"):
        fresh._start(run.start)  # its seed was that one's
    second = Training(run)
    released = load_file(run.start)
    for clip in (second.clip, second.average.module):
        for name, value in clip.state_dict().items():
            assert torch.equal(value, released[name].float()), name
    assert (fresh.twins.plan.ease, second.twins.plan.ease) == (1, 0.5)
    advance(second, 1)
    second.save()
    run.start = None
    third = Training(run)  # goes on without the start
    assert third.seen == 32 + 8
    assert third.twins.plan == second.twins.plan
    with safe_open(release(run.out, tmp_path / "small"), "pt") as opened:
        assert opened.metadata()["pairs_seen"] == "40"
        assert opened.metadata()["seeds"] == "0 1"


def test_a_start_must_say_how_it_was_trained(fresh: Training, tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(1)}, tmp_path / "bare.safetensors")
    with pytest.raises(SystemExit, match="does not say how it was trained"):
        fresh._start(tmp_path / "bare.safetensors")


def test_auroc_counts_couples() -> None:
    negative, positive = torch.randint(0, 5, (20,)).float(), torch.randint(2, 7, (30,)).float()
    right = sum((p > n).item() + 0.5 * (p == n).item() for n in negative for p in positive)
    assert auroc(negative, positive) == pytest.approx(right / 600)


def test_show_draws_twins_and_masks(stem_clip: str, tmp_path: Path) -> None:
    show(stem_clip, 0, tmp_path / "pairs.png")
    with Image.open(tmp_path / "pairs.png") as picture:
        tiles = torch.from_numpy(np.array(picture)).permute(2, 0, 1)
    # 36 twins as three tiles of 120 pixels each, six twins in a row
    assert tiles.shape == (3, 2 + 6 * 122, 2 + 18 * 122)
    tiles = tiles[:, 2:, 2:].unfold(1, 120, 122).unfold(2, 120, 122)
    twins = rearrange(tiles, "rgb row (column three) h w -> (row column) three rgb (h w)", three=3)
    assert set(twins[:, 2].flatten().tolist()) == {0, 255}  # masks
    views, photos = twins[: round(VIEW_SHARE * 36), :2], twins[round(VIEW_SHARE * 36) :, :2]
    assert torch.equal(views[:, :, 0], views[:, :, 1])  # grey
    assert all(not torch.equal(photo[:, 0], photo[:, 1]) for photo in photos)


def test_the_model_of_the_package_is_small_enough() -> None:
    clip, _ = train_small_clip.build("ViT-Ti-Lite0-16-240", 0, torch.device("cpu"))
    stem = sum(value.numel() for value in clip.visual.trunk.patch_embed.stem.buffers())
    assert stem + sum(p.numel() for p in clip.visual.parameters()) <= 12e6
    assert 2 * sum(p.numel() for p in clip.state_dict().values()) <= 25e6
