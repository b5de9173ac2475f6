# SPDX-License-Identifier: Apache-2.0
"""The steps on made-up features, without any frozen network."""

from typing import Any

import pytest
import torch
from torch import nn

from anomalib_clip3dad.errors import InputError
from anomalib_clip3dad.models.lsfa.adaptation import Adaptation, AdaptationSettings
from anomalib_clip3dad.models.lsfa.torch_model import MODALITIES, Features, LsfaModel

WIDTHS = {"rgb": 24, "cloud": 33}
GRID = (6, 5)


class Nothing(nn.Module):
    """Stands for a frozen network that only says how wide its features are."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width, self.out_dims = width, [width]


def make_model() -> LsfaModel:
    parts: Any = [Nothing(width) for width in WIDTHS.values()]
    return LsfaModel(*parts, patch_size=8)


def make_shots(count: int, seed: int = 0) -> Features:
    generator = torch.Generator().manual_seed(seed)
    maps = [torch.randn(count, width, *GRID, generator=generator) for width in WIDTHS.values()]
    part = torch.rand(count, *GRID, generator=generator) < 0.8
    return Features(*maps, part)


def start(count: int, seed: int = 0, **settings: Any) -> Adaptation:
    settings = {"max_steps": 12, "warmup_steps": 3, "batch_size": 4, "least_variance": 0.0} | settings
    return Adaptation(make_model(), make_shots(count), AdaptationSettings(**settings), seed)


@pytest.mark.parametrize("shots", [1, 2, 4, 30, 60])
def test_ifc_starts_with_any_number_of_shots(shots: int) -> None:
    """In the authors' code the bank of 60 000 is never full below 20 shots."""
    adaptation = start(shots)
    used = ["patch" in measured for measured in adaptation.run()]
    assert len(used) == 12
    assert not any(used[:3])  # the warm-up, in steps
    assert used[-1]
    assert used == sorted(used)
    for bank in adaptation.patch_banks.values():
        assert len(bank.ids) == bank.size <= adaptation.shots.part.sum()


def test_banks_are_no_larger_than_asked() -> None:
    adaptation = start(4, bank_size=17)
    list(adaptation.run())
    assert [len(bank.ids) for bank in adaptation.patch_banks.values()] == [17, 17]
    assert [len(bank.ids) for bank in adaptation.prototype_banks.values()] == [4, 4]


def test_banks_hold_adapted_features_of_the_latest_steps() -> None:
    adaptation = start(2, max_steps=1, warmup_steps=0, bank_size=1000)
    adaptation.patch_banks["rgb"].size = 1000
    adaptation.step([1])
    part, bank = adaptation.shots.part, adaptation.patch_banks["rgb"]
    expected = adaptation.shots.rgb[1].flatten(1).T[part[1].flatten()]  # the adaptors start as the identity
    torch.testing.assert_close(bank.features, expected)
    assert bank.ids.tolist() == (part[1].flatten().nonzero()[:, 0] + part[1].numel()).tolist()
    torch.testing.assert_close(adaptation.prototype_banks["rgb"].features, expected.mean(dim=0, keepdim=True))


def gradients(adaptation: Adaptation) -> dict[str, bool]:
    trained = {"adaptors": adaptation.model.adaptors, "heads": adaptation.heads}
    return {
        f"{name}.{own}": weight.grad is not None and bool(weight.grad.any())
        for name, module in trained.items()
        for own, weight in module.named_parameters()
    }


@pytest.mark.parametrize(
    ("settings", "steps", "phase"),
    [
        ({}, 2, {"local", "global"}),
        ({}, 6, {"local", "global", "patch", "prototype"}),
        ({"ifc": False}, 6, {"local", "global"}),
        ({"clc": False}, 6, {"patch", "prototype"}),
    ],
)
def test_gradients_reach_every_trained_tensor(settings: dict[str, Any], steps: int, phase: set[str]) -> None:
    adaptation = start(3, **settings)
    for _ in range(steps):
        measured = adaptation.step([0, 1, 2])
    assert set(measured) - {"variance"} == phase
    reached = gradients(adaptation)
    assert len(reached) == 2 * (13 if adaptation.heads else 11)
    assert all(reached.values()), [name for name, found in reached.items() if not found]


def test_nothing_is_trained_before_ifc_alone_starts() -> None:
    adaptation = start(2, clc=False)
    before = [weight.clone() for weight in adaptation.model.adaptors.parameters()]
    assert [set(adaptation.step([0, 1])) for _ in range(3)] == [{"variance"}] * 3
    after = list(adaptation.model.adaptors.parameters())
    assert all(torch.equal(*pair) for pair in zip(before, after, strict=True))
    assert adaptation.is_compacting


def losses_of(adaptation: Adaptation, chosen: list[int]) -> dict[str, float]:
    adapted = adaptation.model.adapt(Features(*(field[chosen] for field in adaptation.shots)))
    sampled = [adaptation._sample(shot) for shot in chosen]
    patches = {
        name: [getattr(adapted, name)[row].flatten(1).T[one.places] for row, one in enumerate(sampled)]
        for name in MODALITIES
    }
    return {name: loss.item() for name, loss in adaptation.losses(patches, sampled).items()}


def test_a_batch_of_three_is_three_of_one_but_where_samples_are_told_apart() -> None:
    adaptation = start(3)
    for _ in range(5):
        adaptation.step([0, 1, 2])
    together, each = losses_of(adaptation, [0, 1, 2]), [losses_of(adaptation, [shot]) for shot in range(3)]
    for name in ("local", "patch", "prototype"):
        assert together[name] == pytest.approx(sum(one[name] for one in each) / 3, rel=1e-5)
        assert together[name] > 0
    assert together["global"] > 0
    assert [one["global"] for one in each] == [0, 0, 0]


def test_weights_are_factors_of_the_losses() -> None:
    weights = {"local_weight": 2.0, "global_weight": 3.0, "patch_weight": 5.0, "prototype_weight": 7.0}
    ones, others = start(3, **dict.fromkeys(weights, 1.0)), start(3, **weights)
    for adaptation in (ones, others):
        for group in adaptation.optimiser.param_groups:
            group["lr"] = 0.0
        for _ in range(4):
            adaptation.step([0, 1, 2])
    plain, weighted = losses_of(ones, [0, 1, 2]), losses_of(others, [0, 1, 2])
    for name, weight in weights.items():
        loss = name.removesuffix("_weight")
        assert weighted[loss] == pytest.approx(weight * plain[loss], rel=1e-5)


def test_the_budget_limits_the_patches_of_a_shot() -> None:
    adaptation = start(2, patch_budget=5)
    one, other = adaptation._sample(1), adaptation._sample(1)
    assert len(one.places) == len(set(one.places.tolist())) == 5
    assert one.places.tolist() != other.places.tolist()
    assert adaptation.shots.part[1].flatten()[one.places].all()
    assert (one.ids - one.places).unique().tolist() == [adaptation.shots.part[1].numel()]


def test_both_losses_fall() -> None:
    for settings, names in (({"ifc": False}, ["local"]), ({"clc": False, "batch_size": 1}, ["patch"])):
        measured = list(start(1, max_steps=60, learning_rate=1e-3, **settings).run())
        for name in names:
            values = [step[name] for step in measured if name in step]
            assert values[-1] < 0.9 * values[0], (name, values[0], values[-1])


@pytest.mark.parametrize("settings", [{}, {"patch_budget": 7, "batch_size": 2}])
def test_same_seed_same_bits(settings: dict[str, Any]) -> None:
    weights = []
    for run, seed in enumerate((3, 3, 4)):
        torch.manual_seed(run)  # which does not matter
        adaptation = start(5, seed, **settings)
        history = list(adaptation.run())
        weights.append((history, torch.cat([each.flatten() for each in adaptation.model.adaptors.parameters()])))
    assert weights[0][0] == weights[1][0] != weights[2][0]
    assert torch.equal(weights[0][1], weights[1][1])
    assert not torch.equal(weights[0][1], weights[2][1])


def test_adaptors_start_anew_each_time() -> None:
    model, settings, weights = make_model(), AdaptationSettings(max_steps=4, warmup_steps=1), []
    for _ in range(2):
        list(Adaptation(model, make_shots(2), settings, seed=1).run())
        weights.append(torch.cat([weight.flatten() for weight in model.adaptors.parameters()]))
    assert torch.equal(*weights)


def test_shots_come_at_most_once_in_a_batch() -> None:
    adaptation = start(5)
    batches = [adaptation._next_shots() for _ in range(20)]
    assert all(len(set(batch)) == len(batch) == 4 for batch in batches)
    assert {shot for batch in batches for shot in batch} == set(range(5))
    assert start(2).batch_size == 2


def test_training_stops_when_the_features_collapse() -> None:
    settings = {"clc": False, "max_steps": 400, "learning_rate": 3e-3, "patch_weight": 1.0}
    guarded = list(start(2, least_variance=0.5, **settings).run())
    assert 3 < len(guarded) < 400
    assert guarded[-1]["variance"] < 0.5 <= guarded[-2]["variance"]
    free = list(start(2, **settings).run())
    assert len(free) == 400
    assert free[-1]["variance"] < 0.2


def test_a_loss_that_is_not_finite_is_refused() -> None:
    with pytest.raises(InputError, match=r"NaN or infinite at step .* lower learning_rate than 1e"):
        list(start(2, learning_rate=1e30).run())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_steps": -1}, "max_steps=-1: at least 0"),
        ({"batch_size": 0}, "batch_size=0: at least 1"),
        ({"temperature": 0.0}, "temperature=0.0, learning_rate=0.0003: both"),
        ({"warmup_steps": 100}, "warmup_steps=100: IFC would never start; give fewer than max_steps=100"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        AdaptationSettings(**settings)


def test_settings_say_whether_there_is_anything_to_train() -> None:
    assert AdaptationSettings().adapts
    assert not AdaptationSettings(clc=False, ifc=False).adapts
    assert not AdaptationSettings(max_steps=0).adapts
    AdaptationSettings(max_steps=5, ifc=False)  # its warm-up counts nothing then
