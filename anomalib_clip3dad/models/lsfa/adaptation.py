# SPDX-License-Identifier: Apache-2.0
"""Self-supervised adaptation of frozen features to a few normal parts: LSFA's training."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn

from anomalib_clip3dad.errors import InputError
from anomalib_clip3dad.models.frozen_cache import rows_of
from anomalib_clip3dad.seeding import drawing_from

from .loss import compactness, info_nce, relative_variance
from .queue import FeatureQueue
from .torch_model import MODALITIES, Features, LsfaModel

_PROJECTION = 512  # width that the cross-modal losses compare at, as in the authors' code
_PROTOTYPES = 100  # largest bank of prototypes, likewise
_BETAS = (0.9, 0.95)


@dataclass(frozen=True)
class AdaptationSettings:
    """How features are adapted; see the arguments of `Lsfa` of the same names.

    Raises:
        ValueError: If a number is out of range, or IFC would never start.
    """

    clc: bool = True
    ifc: bool = True
    max_steps: int = 100
    batch_size: int = 8
    learning_rate: float = 3e-4
    temperature: float = 1.0
    local_weight: float = 1.0
    global_weight: float = 0.1
    patch_weight: float = 0.9
    prototype_weight: float = 0.36
    bank_size: int = 60_000
    warmup_steps: int = 10
    patch_budget: int = 2048
    least_variance: float = 0.25

    def __post_init__(self) -> None:
        least = {"max_steps": 0, "warmup_steps": 0, "batch_size": 1, "bank_size": 1, "patch_budget": 1}
        for name, value in least.items():
            if getattr(self, name) < value:
                msg = f"{name}={getattr(self, name)}: at least {value} is needed"
                raise InputError(msg)
        if self.temperature <= 0 or self.learning_rate <= 0:
            msg = f"temperature={self.temperature}, learning_rate={self.learning_rate}: both must be above 0"
            raise InputError(msg)
        if self.adapts and self.ifc and self.warmup_steps >= self.max_steps:
            msg = f"warmup_steps={self.warmup_steps}: IFC would never start; give fewer than max_steps={self.max_steps}"
            raise InputError(msg)

    @property
    def adapts(self) -> bool:
        """Whether there is anything to train."""
        return self.max_steps > 0 and (self.clc or self.ifc)


class Sampled(NamedTuple):
    """Sampled patches of one shot that show the part.

    Attributes:
        shot: Number of the shot.
        ids: (N,) int64, number of each patch among all patches of all shots.
        places: (N,) int64, number of each patch in its shot.
    """

    shot: int
    ids: Tensor
    places: Tensor


class Adaptation:
    """The steps that train the adaptors of a model.

    LSFA, section 3: CLC (`info_nce`) compares projections of both modalities, which are thrown away afterwards; IFC
    (`compactness`) compares features with banks of earlier steps. IFC starts after `warmup_steps` and once the banks
    are full. Their size is the smallest of `bank_size` (100 prototypes), all that the shots have, and half of what the
    steps will show, so that the banks fill with any number of shots; in the authors' code they never do below 20.

    Args:
        model: The model; its adaptors are made anew.
        shots: Scaled features of the k shots.
        settings: How to adapt.
        seed: Seed of the weights, of the order of the shots, and of the sampled patches.
    """

    def __init__(self, model: LsfaModel, shots: Features, settings: AdaptationSettings, seed: int) -> None:
        self.model, self.shots, self.settings = model, shots, settings
        self.device = shots.rgb.device
        model.start_adaptors(seed)
        with drawing_from(seed, 1):
            heads = {name: nn.Linear(width, _PROJECTION) for name, width in model.widths.items() if settings.clc}
        self.heads = nn.ModuleDict(heads).to(self.device)
        model.adaptors.to(self.device)
        self.batch_size = min(settings.batch_size, len(shots.part))
        self._draws = torch.Generator().manual_seed(seed)
        self.step_number = 0
        trained = [*model.adaptors.parameters(), *self.heads.parameters()]
        self.trained_parameters = sum(parameter.numel() for parameter in trained)
        self.optimiser = torch.optim.AdamW(trained, lr=settings.learning_rate, betas=_BETAS)
        self.patch_banks = {name: FeatureQueue(self._bank_size()) for name in MODALITIES}
        prototypes = min(_PROTOTYPES, len(shots.part), settings.max_steps * self.batch_size // 2)
        self.prototype_banks = {name: FeatureQueue(max(1, prototypes)) for name in MODALITIES}

    def _bank_size(self) -> int:
        """Number of patches in a bank, see the class."""
        counts = self.shots.part.sum(dim=(1, 2)).clamp(max=self.settings.patch_budget)
        shown = self.settings.max_steps * self.batch_size * counts.float().mean().item()
        return max(1, min(self.settings.bank_size, int(counts.sum()), int(shown / 2)))

    @property
    def is_compacting(self) -> bool:
        """Whether the next step uses IFC."""
        banks = (*self.patch_banks.values(), *self.prototype_banks.values())
        return (
            self.settings.ifc and self.step_number >= self.settings.warmup_steps and all(bank.is_full for bank in banks)
        )

    def run(self) -> Iterator[dict[str, float]]:
        """Take all steps, or fewer if the features collapse.

        Yields:
            The losses of each step, and `variance` of the features relative to before, the lower one of the two
            modalities. The last one is below `least_variance` if the features collapsed.
        """
        while self.step_number < self.settings.max_steps:
            measured = self.step(self._next_shots())
            yield measured
            if measured["variance"] < self.settings.least_variance:
                return

    def _next_shots(self) -> list[int]:
        """Numbers of the shots of a batch, each at most once."""
        return torch.randperm(len(self.shots.part), generator=self._draws)[: self.batch_size].tolist()

    def _sample(self, shot: int) -> Sampled:
        inside = self.shots.part[shot].flatten().nonzero()[:, 0]
        if len(inside) > self.settings.patch_budget:
            kept = torch.randperm(len(inside), generator=self._draws)[: self.settings.patch_budget]
            inside = inside[kept.to(self.device)]
        return Sampled(shot, inside + shot * self.shots.part[0].numel(), inside)

    def step(self, chosen: list[int]) -> dict[str, float]:
        """Take one step.

        Args:
            chosen: Numbers of the shots of the batch.

        Returns:
            See `run`.

        Raises:
            ValueError: If a loss is NaN or infinite, since no later step would mend the weights.
        """
        frozen: Features = rows_of(self.shots, chosen)
        adapted = self.model.adapt(frozen)
        sampled = [self._sample(shot) for shot in chosen]
        patches = {name: _patches(getattr(adapted, name), sampled) for name in MODALITIES}
        losses = self.losses(patches, sampled)
        if losses:
            total = torch.stack(list(losses.values())).sum()
            if not total.isfinite():
                msg = f"the loss is NaN or infinite at step {self.step_number} of the adaptation; give a lower "
                msg += f"learning_rate than {self.settings.learning_rate:g}"
                raise InputError(msg)
            self.optimiser.zero_grad()
            total.backward()
            self.optimiser.step()
        self._remember(patches, sampled)
        self.step_number += 1
        before = {name: _patches(getattr(frozen, name), sampled) for name in MODALITIES}
        ratios = [relative_variance(torch.cat(patches[name]), torch.cat(before[name])) for name in MODALITIES]
        measured = {name: loss.item() for name, loss in losses.items()}
        return measured | {"variance": torch.stack(ratios).amin().item()}

    def losses(self, patches: dict[str, list[Tensor]], sampled: list[Sampled]) -> dict[str, Tensor]:
        """Compute the losses of a batch, each times its weight.

        Args:
            patches: By modality, for each of B samples its features (N, C).
            sampled: Which patches these are.

        Returns:
            Scalars: `local` and `global` with CLC, `patch` and `prototype` with IFC. All but `global`, which tells the
            samples of a batch apart, are means over the samples.
        """
        settings, losses = self.settings, {}
        if settings.clc:
            rgb, cloud = ([self.heads[name](of_one) for of_one in patches[name]] for name in MODALITIES)
            of_samples = [info_nce(*pair, settings.temperature) for pair in zip(rgb, cloud, strict=True)]
            losses["local"] = settings.local_weight * torch.stack(of_samples).mean()
            rgb_mean, cloud_mean = (self.heads[name](_prototypes(patches[name])) for name in MODALITIES)
            losses["global"] = settings.global_weight * info_nce(rgb_mean, cloud_mean, settings.temperature)
        if self.is_compacting:
            each = [self._compactness(patches, sampled, name) for name in MODALITIES]
            of_patches, of_prototypes = (torch.stack(kind).sum() for kind in zip(*each, strict=True))
            losses["patch"] = settings.patch_weight * of_patches
            losses["prototype"] = settings.prototype_weight * of_prototypes
        return losses

    def _compactness(
        self, patches: dict[str, list[Tensor]], sampled: list[Sampled], name: str
    ) -> tuple[Tensor, Tensor]:
        """L_LC and L_GC of one modality, means over the samples."""
        bank, prototypes = self.patch_banks[name], self.prototype_banks[name]
        of_each = [
            compactness(of_one, one.ids, bank.features, bank.ids)
            for of_one, one in zip(patches[name], sampled, strict=True)
        ]
        means = _prototypes(patches[name])
        return torch.stack(of_each).mean(), compactness(
            means, self._shots_of(sampled), prototypes.features, prototypes.ids
        )

    def _remember(self, patches: dict[str, list[Tensor]], sampled: list[Sampled]) -> None:
        """Add the features of a step to the banks, after its loss, so that none is compared with itself."""
        for name in MODALITIES if self.settings.ifc else ():
            self.patch_banks[name].push(torch.cat(patches[name]), torch.cat([one.ids for one in sampled]))
            self.prototype_banks[name].push(_prototypes(patches[name]), self._shots_of(sampled))

    def _shots_of(self, sampled: list[Sampled]) -> Tensor:
        return torch.tensor([one.shot for one in sampled], device=self.device)


def _patches(maps: Tensor, sampled: list[Sampled]) -> list[Tensor]:
    """Features (N, C) of each sample's patches, from maps (B, C, h, w)."""
    tokens: Any = rearrange(maps, "b c h w -> b (h w) c")
    return [of_one[one.places] for of_one, one in zip(tokens, sampled, strict=True)]


def _prototypes(patches: list[Tensor]) -> Tensor:
    """Mean feature of each sample's patches on the part, (B, C)."""
    return torch.stack([of_one.mean(dim=0) for of_one in patches])
