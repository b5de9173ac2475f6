# SPDX-License-Identifier: Apache-2.0

from collections import Counter

import pytest
import torch
from lightning.pytorch import Trainer

from anomalib_clip3dad.data.shots import KShotSampler, choose_shots, find_shots, samples_to_draw

NAMES = [f"bagel/train/good/rgb/{number:03d}.png" for number in range(20)]


def stems(paths: list[str]) -> list[str]:
    return [path[-7:-4] for path in paths]


def test_the_draw_is_frozen() -> None:
    # published tables name seeds, not files: these numbers must never change
    assert stems(choose_shots(NAMES, 4, shot_seed=0)) == ["004", "005", "013", "019"]
    assert stems(choose_shots(NAMES, 4, shot_seed=1)) == ["005", "013", "002", "011"]


def test_the_draw_depends_on_names_and_seed_alone() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    expected = choose_shots(NAMES, 4, shot_seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert choose_shots(NAMES[::-1], 4, shot_seed=3) == expected
    assert choose_shots([*NAMES[7:], *NAMES[:7]], 4, shot_seed=3) == expected


@pytest.mark.parametrize("seed", range(5))
def test_draws_are_nested_and_without_repeats(seed: int) -> None:
    whole = choose_shots(NAMES, len(NAMES), seed)
    assert sorted(whole) == NAMES
    for k in (1, 2, 4, 8):
        assert choose_shots(NAMES, k, seed) == whole[:k]


def test_seeds_differ() -> None:
    assert len({tuple(choose_shots(NAMES, 4, seed)) for seed in range(50)}) == 50


def test_too_few_candidates_says_how_many_and_where() -> None:
    with pytest.raises(ValueError, match=r"k_shot=21 but bagel/train/good/rgb holds 20 normal samples; lower k_shot"):
        choose_shots(NAMES, 21, 0)
    with pytest.raises(ValueError, match=r"k_shot=1 but the training folder holds 0"):
        choose_shots([], 1, 0)
    with pytest.raises(ValueError, match=r"k_shot=0: at least 1 .* k_shot=None"):
        choose_shots(NAMES, 0, 0)


@pytest.mark.parametrize("shots", [["007", "002"], ["007.png", "002.png"], ["train/good/rgb/007.png", "002"]])
def test_shots_are_found_by_stem_and_name(shots: list[str]) -> None:
    assert find_shots(shots, NAMES) == [NAMES[7], NAMES[2]]


def test_unknown_shots_are_named_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"not found in bagel/train/good/rgb") as error:
        find_shots(["001", "0011", "abc"], NAMES)
    text = str(error.value)
    assert "'0011' (nearest: 011, 001" in text
    assert "'abc' (nearest: " in text
    assert "'001'" not in text
    assert "correct the names in shots=" in text


@pytest.mark.parametrize("shots", [[], ["001", "001.png"]])
def test_no_shot_and_repeated_shots_are_refused(shots: list[str]) -> None:
    with pytest.raises(ValueError, match="each only once; drop shots="):
        find_shots(shots, NAMES)


@pytest.mark.parametrize(("num_shots", "num_samples"), [(1, 5), (4, 12), (4, 14), (5, 3)])
def test_every_round_holds_every_shot_once(num_shots: int, num_samples: int) -> None:
    sampler = KShotSampler(num_shots, num_samples, seed=7)
    drawn = list(sampler)
    assert len(drawn) == len(sampler) == num_samples
    for start in range(0, num_samples, num_shots):
        part = drawn[start : start + num_shots]
        assert set(part) <= set(range(num_shots))
        assert len(set(part)) == len(part)
    counts = Counter(drawn)
    assert max(counts.values()) - min(counts[shot] for shot in range(num_shots)) <= 1


def test_runs_are_the_same_and_epochs_and_seeds_differ() -> None:
    run, again, other = (KShotSampler(4, 40, seed=seed) for seed in (0, 0, 1))
    epochs = [list(run) for _ in range(3)]
    assert [list(again) for _ in range(3)] == epochs
    others = [list(other) for _ in range(3)]
    assert len({tuple(epoch) for epoch in epochs + others}) == 6
    run.set_epoch(1)
    assert list(run) == epochs[1]
    assert list(run) == epochs[2]


@pytest.mark.parametrize("epoch", [0, 3])
def test_processes_take_turns_with_the_samples_of_one(epoch: int) -> None:
    samplers = [KShotSampler(3, 12), *(KShotSampler(3, 12, rank=rank, world_size=2) for rank in (0, 1))]
    for sampler in samplers:
        sampler.set_epoch(epoch)
    alone, *both = (list(sampler) for sampler in samplers)
    assert [len(sampler) for sampler in samplers] == [12, 6, 6]
    assert [index for pair in zip(*both, strict=True) for index in pair] == alone


def test_processes_that_cannot_share_evenly_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple of world_size=2"):
        KShotSampler(3, 7, world_size=2)


def test_the_sampler_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    list(KShotSampler(4, 40))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("num_shots", "num_samples"), [(0, 4), (4, 0)])
def test_empty_samplers_are_refused(num_shots: int, num_samples: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        KShotSampler(num_shots, num_samples)


@pytest.mark.parametrize(("num_shots", "batch_size", "expected"), [(1, 4, 4), (4, 4, 4), (5, 4, 8), (3, 1, 3)])
def test_without_max_steps_an_epoch_is_one_pass_of_whole_batches(
    num_shots: int, batch_size: int, expected: int
) -> None:
    assert samples_to_draw(None, num_shots, batch_size) == expected
    trainer = Trainer(max_epochs=2, logger=False, accelerator="cpu")
    assert samples_to_draw(trainer, num_shots, batch_size) == expected


def test_max_steps_are_one_epoch() -> None:
    trainer = Trainer(max_steps=50, accumulate_grad_batches=3, logger=False, accelerator="cpu")
    assert samples_to_draw(trainer, num_shots=2, batch_size=4) == 50 * 4 * 3


def test_each_process_gets_all_steps() -> None:
    trainer = Trainer(max_steps=50, devices=2, strategy="ddp", logger=False, accelerator="cpu")
    assert samples_to_draw(trainer, num_shots=2, batch_size=4) == 50 * 4 * 2
