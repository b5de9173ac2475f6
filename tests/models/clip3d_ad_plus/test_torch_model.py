# SPDX-License-Identifier: Apache-2.0
"""The tensors' way from a cut part to its evidence, on a tiny CLIP."""

from typing import Any

import pytest
import torch
from torch import Tensor

from anomalib_clip3dad.clip import VisionTower, load_clip
from anomalib_clip3dad.clip.similarity import enlarge, patch_shares
from anomalib_clip3dad.data import EVIDENCE_KINDS
from anomalib_clip3dad.errors import InputError
from anomalib_clip3dad.geometry import MultiViewRenderer, foreground_mask
from anomalib_clip3dad.models import Clip3dAd
from anomalib_clip3dad.models.backbone import load_backbone
from anomalib_clip3dad.models.clip3d_ad_plus import Clip3dAdPlusModel
from anomalib_clip3dad.models.clip3d_ad_plus.missing import shares
from anomalib_clip3dad.models.clip3d_ad_plus.torch_model import FlawedShot, patches_of
from anomalib_clip3dad.models.part_cut import Cut, turn
from tests.conftest import bumpy_part

SIDE = 48
VIEWS = (1, 2)


def part(seed: int = 0) -> Cut:
    image, xyz = bumpy_part(SIDE, SIDE, seed)
    return Cut(image[None], xyz[None], foreground_mask(xyz[None]), None)


@pytest.fixture
def model(tiny_clip: str) -> Clip3dAdPlusModel:
    clip = load_clip(tiny_clip, None)
    found = Clip3dAdPlusModel(
        VisionTower(clip.visual, [3], with_last=True),
        load_backbone("resnet18", ["layer2"], pre_trained=False),
        len(VIEWS),
    )
    found.text.copy_(torch.randn(2, 24))
    return found.eval()


def read(model: Clip3dAdPlusModel, cut: Cut) -> Any:
    return model.read(cut, MultiViewRenderer(VIEWS, SIDE, "grey")(cut.image, cut.xyz, cut.foreground))


def filled(model: Clip3dAdPlusModel, seeds: tuple[int, ...] = (0, 1, 2)) -> Clip3dAdPlusModel:
    angles = [0.0, 90.0]
    shots = [[read(model, turn(part(seed), angle)) for angle in angles] for seed in seeds]
    model.fit(shots, angles, [stained_shot(model)])
    return model


def stained_shot(model: Clip3dAdPlusModel) -> FlawedShot:
    """The first shot with a stain."""
    cut = part(0)
    cut.image[:, :, 20:28, 20:28] = 0.0
    mask = torch.zeros(1, SIDE, SIDE, dtype=torch.bool)
    mask[:, 16:32, 16:32] = True
    return FlawedShot(0, 0, read(model, cut), shares(mask, (6, 6)))


def evidence_of(model: Clip3dAdPlusModel, cut: Cut, kind: str) -> Tensor:
    return model.compare(read(model, cut)).maps[0, EVIDENCE_KINDS.index(kind)]


def test_the_words_are_those_of_an_untrained_clip3d_ad(model: Clip3dAdPlusModel, tiny_clip: str) -> None:
    other = Clip3dAd(
        clip_model=tiny_clip, pretrained=None, views=VIEWS, fusion="late", layers=[3], visualizer=False
    ).eval()
    other.model.text.copy_(model.text)
    cut = part()
    views = MultiViewRenderer(VIEWS, SIDE, "grey")(cut.image, cut.xyz, cut.foreground)
    features = other.model.read(cut.image, views)
    core = other.model
    local = core.local_fusion(features.view_tokens, features.seen)
    both = [
        patch_shares(core.decoder(features.tokens.unbind(dim=1)), model.text),
        patch_shares(local, model.text, seen=features.seen.any(dim=1)),
    ]
    found = read(model, cut)
    expected = enlarge(torch.maximum(*both), (3, 3), (6, 6))
    torch.testing.assert_close(found.words_map.sigmoid(), expected.clamp(1e-5, 1 - 1e-5), atol=1e-5, rtol=0)
    cosines = torch.stack([torch.cosine_similarity(features.cls, state[None]) for state in model.text])
    torch.testing.assert_close(found.words[:, 0].sigmoid(), cosines.div(0.07).softmax(dim=0)[1])
    of_views = torch.stack([torch.cosine_similarity(features.view_cls[0], state[None]) for state in model.text])
    torch.testing.assert_close(found.words[0, 1].sigmoid(), of_views.div(0.07).softmax(dim=0)[1].mean())


def test_each_kind_sees_what_it_is_there_for(model: Clip3dAdPlusModel) -> None:
    model, shot = filled(model), part(0)
    stained, dented, holed = (Cut(*(field.clone() for field in shot[:3]), None) for _ in range(3))
    stained.image[:, :, 20:28, 20:28] = 0.0
    dented.xyz[:, 2, 20:28, 20:28] += 0.01 * (dented.xyz[:, 2, 20:28, 20:28] > 0)
    holed.foreground[:, 20:28, 20:28] = False
    for kind, faulty in (("colour", stained), ("geometry", dented), ("missing", holed)):
        change = evidence_of(model, faulty, kind) - evidence_of(model, shot, kind)
        assert change.max() > 0.05
        row, column = divmod(int(change.argmax()), 6)
        assert {row, column} <= {2, 3}
    assert torch.equal(evidence_of(model, dented, "colour"), evidence_of(model, shot, "colour"))
    assert torch.equal(evidence_of(model, stained, "geometry"), evidence_of(model, shot, "geometry"))


def test_what_is_measured_here_and_not_on_the_shots_is_missing_too(model: Clip3dAdPlusModel) -> None:
    model, cut = filled(model), part(0)
    model.colour.missing.fill_(1.0)  # nothing was measured on any patch that looks like these
    seen = read(model, cut)
    found, shown = model.compare(seen).maps[:, EVIDENCE_KINDS.index("missing")], seen.part > 0
    torch.testing.assert_close(found[shown], 1 - seen.missing[shown])
    assert found[shown].min() > 0


@pytest.mark.parametrize("kind", ["colour", "geometry"])
def test_every_patch_of_the_part_has_its_own_distance_to_the_bank(model: Clip3dAdPlusModel, kind: str) -> None:
    model, cuts = filled(model), [part(7), part(8)]
    cuts[1].foreground[:, :, :16] = False
    cuts[1].xyz[:, :, :, :16] = 0.0
    seen = read(model, Cut(*(torch.cat(each) for each in zip(cuts[0][:3], cuts[1][:3], strict=True)), None))
    shown, bank = seen.part > 0, getattr(model, kind).bank
    assert 0 < shown.sum() < shown.numel()
    distances = torch.zeros(2, 6, 6)
    for sample, row, column in shown.nonzero().tolist():
        distances[sample, row, column] = (getattr(seen, kind)[sample, :, row, column] - bank).norm(dim=1).min()
    smooth = torch.nn.functional.avg_pool2d(distances, 3, 1, 1, count_include_pad=False)
    found = model.compare(seen).maps[:, EVIDENCE_KINDS.index(kind)]
    torch.testing.assert_close(found[shown], smooth[shown], atol=1e-3, rtol=1e-3)


def test_a_shot_is_near_to_itself_however_it_is_turned(model: Clip3dAdPlusModel) -> None:
    model = filled(model)
    for angle in (0.0, 90.0):
        assert evidence_of(model, turn(part(1), angle), "colour").max() < 0.05
    assert evidence_of(model, part(7), "colour").max() > 0.5


def test_both_banks_hold_the_patches_of_the_part_alone(model: Clip3dAdPlusModel) -> None:
    cut = part()
    cut.foreground[:, :, :16] = False
    cut.xyz[:, :, :, :16] = 0.0
    reads = [read(model, cut), read(model, turn(cut, 90.0))]
    model.fit([reads], [0.0, 90.0], [stained_shot(model)])
    upright, turned = (int((each.part > 0).sum()) for each in reads)
    assert 0 < upright < 36
    assert model.geometry.bank.shape == (upright, 33)
    assert model.colour.bank.shape == (upright + turned, 128)


@pytest.mark.parametrize("degrees", [0.0, 90.0, 180.0, 270.0])
def test_turned_patches_keep_their_places_in_the_shot(model: Clip3dAdPlusModel, degrees: float) -> None:
    """An image that holds each patch's own place is turned as the samples are."""
    plain = patches_of(torch.zeros(1, 1, 6, 6), read(model, part()), 0, 0.0)
    places = plain.place.T.reshape(1, 2, 6, 6)
    picture = torch.cat([places, torch.zeros(1, 1, 6, 6)], dim=1)
    turned = turn(Cut(picture, torch.zeros(1, 3, 6, 6), torch.ones(1, 6, 6, dtype=torch.bool), None), degrees)
    found = patches_of(torch.zeros(1, 1, 6, 6), read(model, part()), 0, degrees)
    torch.testing.assert_close(found.place, turned.image[0, :2].flatten(1).T, atol=1e-4, rtol=0)


def test_an_empty_memory_is_refused(model: Clip3dAdPlusModel) -> None:
    with pytest.raises(InputError, match="the memory bank is empty; train the model"):
        model.compare(read(model, part()))
