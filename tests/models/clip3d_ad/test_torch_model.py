# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from torch import nn
from torch.nn import functional

from anomalib_clip3dad.clip import VisionTower, load_clip
from anomalib_clip3dad.geometry import MultiViewRenderer, Views, foreground_mask
from anomalib_clip3dad.models.clip3d_ad.fusion import align_tokens
from anomalib_clip3dad.models.clip3d_ad.loss import bidirectional_contrastive_loss, segmentation_loss
from anomalib_clip3dad.models.clip3d_ad.torch_model import Clip3dAdModel
from tests.conftest import OnDevice, depth_batch

VIEWS = (5, 9, 27)


def make(
    clip_name: str, views: int = 3, align_views: bool = True, trained: bool = True, fusion: str = "sum"
) -> Clip3dAdModel:
    """A model with layers 1 and 3; `trained` draws every parameter anew, so that no branch is silent."""
    clip = load_clip(clip_name, None)
    model = Clip3dAdModel(VisionTower(clip.visual, [1, 3] + [3] * bool(views)), views, align_views, fusion)
    torch.manual_seed(1)
    model.text.copy_(functional.normalize(torch.randn(2, 24), dim=-1))
    if trained:
        for parameter in model.parameters():
            if parameter.requires_grad:
                nn.init.normal_(parameter, std=0.2)
    return model.eval()


def sample(size: int = 3) -> tuple[torch.Tensor, Views]:
    batch = depth_batch(size)
    views = MultiViewRenderer(VIEWS, 48)(batch.image, batch.depth_map, foreground_mask(batch.depth_map))
    return batch.image.as_subclass(torch.Tensor), views


@torch.no_grad()
def test_forward_step_by_step(tiny_clip: str) -> None:
    """Figure 2 written out for one sample: adapters, decoder and fusion added, map and score from similarities."""
    model, (image, views) = make(tiny_clip), sample(1)
    tower = model.tower
    cls, (coarse, fine, _) = tower(image)
    view_cls, (*_, view_tokens) = tower(views.images[0])
    aligned, seen = align_tokens(view_tokens[None], views.positions, views.visible, (3, 3))
    i = model.image_adapter(cls) + model.global_fusion(view_cls[None])
    f = model.decoder([coarse, fine]) + model.local_fusion(aligned, seen)
    t_c, t_s = model.classification_text_adapter(model.text), model.segmentation_text_adapter(model.text)
    patches = torch.stack([functional.cosine_similarity(f[0], t[None]) / 0.07 for t in t_s], -1).softmax(-1)[:, 1]
    s_map = functional.interpolate(patches.reshape(1, 1, 3, 3), (48, 48), mode="bilinear")[0]
    s = torch.stack([functional.cosine_similarity(i[0], t, dim=0) / 0.07 for t in t_c]).softmax(0)
    prediction = model(image, views)
    torch.testing.assert_close(prediction.anomaly_map, s_map)
    torch.testing.assert_close(prediction.pred_score, (s[1] + s_map.max()[None]) / 2)


@torch.no_grad()
@pytest.mark.parametrize("align_views", [True, False])
def test_a_batch_of_three_equals_three_batches(tiny_clip: str, align_views: bool) -> None:
    model, (image, views) = make(tiny_clip, align_views=align_views), sample(3)
    assert len({views.visible[i].sum().item() for i in range(3)}) == 3  # the masks do differ
    together = model(image, views)
    for i in range(3):
        alone = model(image[i : i + 1], Views(*(part[i : i + 1] for part in views)))
        torch.testing.assert_close(alone.pred_score[0], together.pred_score[i], atol=1e-5, rtol=0)
        torch.testing.assert_close(alone.anomaly_map[0], together.anomaly_map[i], atol=1e-5, rtol=0)


@torch.no_grad()
def test_same_input_same_bits(tiny_clip: str) -> None:
    model, (image, views) = make(tiny_clip), sample(2)
    first, second = model(image, views), model(image, views)
    assert torch.equal(first.pred_score, second.pred_score)
    assert torch.equal(first.anomaly_map, second.anomaly_map)


@torch.no_grad()
def test_untrained_is_frozen_clip(tiny_clip: str) -> None:
    clip = load_clip(tiny_clip, None)
    model, (image, _) = make(tiny_clip, views=0, trained=False), sample(2)
    normalised = (image - model.tower.mean) / model.tower.std
    similarity = functional.normalize(clip.encode_image(normalised), dim=-1) @ model.text.T / 0.07
    prediction = model(image)
    share = 2 * prediction.pred_score - prediction.anomaly_map.amax((1, 2))
    torch.testing.assert_close(share, similarity.softmax(-1)[:, 1], atol=1e-5, rtol=0)


@torch.no_grad()
def test_untrained_adds_frozen_clip_of_the_views(tiny_clip: str) -> None:
    """Image and mean of the views, 0.8 to 1 for the embedding (the adapter's share) and 1 to 1 for the patches."""
    clip = load_clip(tiny_clip, None)
    model, (image, views) = make(tiny_clip, trained=False), sample(1)
    normalised, of_views = ((x - model.tower.mean) / model.tower.std for x in (image, views.images[0]))
    embedding = 0.8 * clip.encode_image(normalised)[0] + clip.encode_image(of_views).mean(0)
    similarity = functional.normalize(embedding, dim=-1) @ model.text.T / 0.07
    _, (_, tokens, _) = model.tower(image)
    _, (*_, view_tokens) = model.tower(views.images[0])
    aligned, seen = align_tokens(view_tokens[None], views.positions, views.visible, (3, 3))
    mean = (aligned * seen[..., None]).sum(1) / seen.sum(1).clamp(min=1)[..., None]
    last = model.tower.visual.ln_post
    patches = (last(tokens) + last(mean) * seen.any(1)[..., None]) @ model.tower.visual.proj
    of_patches = (functional.normalize(patches, dim=-1) @ model.text.T / 0.07).softmax(-1)[..., 1]
    expected = functional.interpolate(of_patches.reshape(1, 1, 3, 3), (48, 48), mode="bilinear")[0]
    prediction = model(image, views)
    torch.testing.assert_close(prediction.anomaly_map, expected)
    share = 2 * prediction.pred_score - prediction.anomaly_map.amax((1, 2))
    torch.testing.assert_close(share[0], similarity.softmax(-1)[1], atol=1e-5, rtol=0)


@torch.no_grad()
def test_late_fusion_judges_picture_and_views_apart(tiny_clip: str) -> None:
    """Eq. 9, 10 and 16-18 for both; where no view shows a patch, the image's map."""
    model, (image, views) = make(tiny_clip, fusion="late"), sample(3)
    features = model.read(image, views)
    segmentation, classification = (
        functional.normalize(adapter(model.text), dim=-1)
        for adapter in (model.segmentation_text_adapter, model.classification_text_adapter)
    )

    def share(embeddings: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        return (functional.normalize(embeddings, dim=-1) @ text.T / 0.07).softmax(-1)[..., 1]

    of_picture = share(model.decoder(features.tokens.unbind(1)), segmentation)
    of_views = share(model.local_fusion(features.view_tokens, features.seen), segmentation) * features.seen.any(1)
    maps = [
        functional.interpolate(each.reshape(3, 1, 3, 3), (48, 48), mode="bilinear")[:, 0]
        for each in (of_picture, of_views)
    ]
    embeddings = model.image_adapter(features.cls), model.global_fusion(features.view_cls)
    normal = torch.ones(3)
    for embedding, anomaly_map in zip(embeddings, maps, strict=True):
        normal = normal * (1 - share(embedding, classification)) * (1 - anomaly_map.amax((1, 2)))
    found = model(image, views)
    torch.testing.assert_close(found.anomaly_map, torch.maximum(*maps))
    torch.testing.assert_close(found.pred_score, 1 - normal ** (1 / 4))
    assert not torch.allclose(found.pred_score, make(tiny_clip)(image, views).pred_score)


@torch.no_grad()
def test_the_views_count_when_trained(tiny_clip: str) -> None:
    model, (image, views) = make(tiny_clip), sample(2)
    other = views._replace(images=1 - views.images)
    assert (model(image, views).pred_score - model(image, other).pred_score).abs().min() > 1e-4
    assert (model(image, views).anomaly_map - model(image, other).anomaly_map).abs().max() > 1e-3


@torch.no_grad()
def test_aligned_and_unaligned_differ(tiny_clip: str) -> None:
    image, views = sample(2)
    maps = [make(tiny_clip, align_views=align)(image, views).anomaly_map for align in (True, False)]
    assert not torch.allclose(*maps)


def test_gradient_reaches_all_that_is_trained_and_nothing_frozen(tiny_clip: str) -> None:
    model, (image, views) = make(tiny_clip).train(), sample(2)
    adapted = model(image, views)
    (adapted.images[0].square().sum() + adapted.text.square().sum() + adapted.anomaly_map.square().sum()).backward()
    for name, parameter in model.named_parameters():
        if name.startswith("tower."):
            assert parameter.grad is None, name
        else:
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name


def test_nothing_looks_at_numbers(tiny_clip: str) -> None:
    """A GPU runs on while the next step is prepared."""
    model, (image, views) = make(tiny_clip), sample(2)
    views = Views(*(part.as_subclass(OnDevice) for part in views))
    prediction = model(image.as_subclass(OnDevice), views)
    assert isinstance(prediction.anomaly_map, OnDevice)
    adapted = model.train()(image.as_subclass(OnDevice), views)
    mask = torch.rand(2, 48, 48).as_subclass(OnDevice) < 0.1
    one, other = adapted.images[0].chunk(2)
    loss = bidirectional_contrastive_loss(one, other, adapted.text[:1], adapted.text[1:])
    loss = loss + segmentation_loss(adapted.anomaly_map, mask)
    loss.backward()
    assert isinstance(loss, OnDevice)


def test_wrong_number_of_views(tiny_clip: str) -> None:
    model, (image, views) = make(tiny_clip, views=5), sample(1)
    with pytest.raises(ValueError, match=r"made for 5 views.*got 3"):
        model(image, views)
    with pytest.raises(ValueError, match=r"made for 5 views.*got 0"):
        model(image)
