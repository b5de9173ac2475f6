# SPDX-License-Identifier: Apache-2.0
import hashlib
import logging
import urllib.request
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from anomalib_clip3dad.clip import load_clip, weights
from anomalib_clip3dad.weights import weights_hash


@pytest.fixture
def other_weights(tiny_clip: str) -> dict[str, torch.Tensor]:
    """Weights of the tiny CLIP that differ from the random ones in every tensor."""
    return {name: tensor + 0.25 for name, tensor in load_clip(tiny_clip, None).state_dict().items()}


@pytest.fixture
def small(
    tiny_clip: str, other_weights: dict[str, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Half-precision weights of the tiny CLIP in the place of the package's own; there is no network."""
    file = tmp_path / f"{tiny_clip}.safetensors"
    save_file({name: tensor.half() for name, tensor in other_weights.items()}, file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    (tmp_path / "SHA256SUMS").write_text(f"{digest}  {file.name}\n")
    monkeypatch.setattr(weights, "_SMALL", tmp_path)
    return file


def test_random_weights_are_always_the_same_and_say_so(tiny_clip: str, caplog: pytest.LogCaptureFixture) -> None:
    first = load_clip(tiny_clip, None)
    torch.manual_seed(123)
    before = torch.get_rng_state()
    with caplog.at_level(logging.WARNING):
        second = load_clip(tiny_clip, None)
    assert torch.equal(before, torch.get_rng_state())  # and nobody else's numbers change
    assert weights_hash(first.state_dict()) == weights_hash(second.state_dict())
    assert "RANDOM" in caplog.text


def test_another_image_size_interpolates_the_positions(
    tiny_clip: str, other_weights: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    """3 x 3 places become 6 x 6; where the old and new grids' corners meet, and on a plane, nothing is made up."""
    ramp = torch.arange(3.0)
    places = other_weights["visual.positional_embedding"]
    places[1:] = (ramp[:, None] + 10 * ramp).reshape(9, 1).expand(9, places.shape[1])
    save_file(other_weights, tmp_path / "a.safetensors")
    model = load_clip(tiny_clip, str(tmp_path / "a.safetensors"), image_size=96)
    assert model.visual.image_size == (96, 96)
    found = model.visual.positional_embedding
    assert found.shape[0] == 37
    assert torch.equal(found[0], places[0])  # [CLS]
    inner = found[1:, 0].reshape(6, 6)[1:-1, 1:-1]
    steps = torch.arange(1, 5) * 0.5 - 0.25  # centres of the new places in steps of the old ones
    torch.testing.assert_close(inner, steps[:, None] + 10 * steps, atol=1.0, rtol=0)  # bicubic bends towards the rim
    assert (inner.diff(dim=0) > 0).all()
    assert (inner.diff(dim=1) > 0).all()


def test_an_image_size_between_patches_is_refused(tiny_clip: str) -> None:
    with pytest.raises(ValueError, match="image_size=50: ViT-test-tiny reads patches of 16 pixels; give a multiple"):
        load_clip(tiny_clip, None, image_size=50)


@pytest.mark.parametrize("name", ["a.safetensors", "a.pt", "a.bin", "training.pt", "parallel.pt"])
def test_local_files(tiny_clip: str, other_weights: dict[str, torch.Tensor], tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    if name == "a.safetensors":
        save_file(other_weights, file)
    elif name == "training.pt":
        torch.save({"epoch": 32, "name": "run", "state_dict": other_weights}, file)
    elif name == "parallel.pt":
        torch.save({"state_dict": {f"module.{key}": value for key, value in other_weights.items()}}, file)
    else:
        torch.save(other_weights, file)
    loaded = load_clip(tiny_clip, str(file)).state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in other_weights.items())


def test_small(tiny_clip: str, other_weights: dict[str, torch.Tensor], small: Path) -> None:
    assert small.is_file()
    loaded = load_clip(tiny_clip, "small").state_dict()
    assert loaded.keys() == other_weights.keys()
    for name, value in other_weights.items():
        assert loaded[name].dtype == torch.float32
        assert torch.equal(loaded[name], value.half().float())


def test_small_of_the_package() -> None:
    random = load_clip("ViT-Ti-Lite0-16-240", None)
    assert weights_hash(load_clip("ViT-Ti-Lite0-16-240", "small").state_dict()) != weights_hash(random.state_dict())


def test_small_of_another_architecture(tiny_clip: str, small: Path) -> None:
    assert small.is_file()
    message = f"'small' belongs to clip_model={tiny_clip}, not to 'ViT-B-16-plus-240'"
    with pytest.raises(ValueError, match=message):
        load_clip("ViT-B-16-plus-240", "small")


def test_small_is_among_the_known_tags(tiny_clip: str, small: Path) -> None:
    assert small.is_file()
    with pytest.raises(FileNotFoundError, match=f"known tags of {tiny_clip}: small"):
        load_clip(tiny_clip, "smal")
    with pytest.raises(FileNotFoundError, match="known tags of ViT-S-16-alt: none"):
        load_clip("ViT-S-16-alt", "smal")


def test_small_damaged(tiny_clip: str, small: Path) -> None:
    content = bytearray(small.read_bytes())
    content[-1] ^= 1
    small.write_bytes(content)
    with pytest.raises(ValueError, match=r"ViT-test-tiny\.safetensors is damaged.*again"):
        load_clip(tiny_clip, "small")


@pytest.mark.parametrize("name", ["ViT-test-tiny.safetensors", "SHA256SUMS"])
def test_small_not_installed(tiny_clip: str, small: Path, name: str) -> None:
    small.with_name(name).unlink()
    with pytest.raises(FileNotFoundError, match=f"{name} is not there.*incomplete.*again"):
        load_clip(tiny_clip, "small")


@pytest.mark.parametrize("content", [[1, 2], torch.zeros(3), {1: torch.zeros(3)}, {"state_dict": 3}, {"a": "b"}])
def test_files_without_a_state_dict(tiny_clip: str, tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "odd.pt")
    with pytest.raises(ValueError, match=r"odd\.pt holds no weights"):
        load_clip(tiny_clip, str(tmp_path / "odd.pt"))


def test_openai_archives_are_refused_before_the_download() -> None:
    with pytest.raises(ValueError, match=r"TorchScript.*-quickgelu"):
        load_clip("ViT-B-16", "openai")


def test_truncated_file(tiny_clip: str, other_weights: dict[str, torch.Tensor], tmp_path: Path) -> None:
    for name in ("cut.safetensors", "cut.pt"):
        file = tmp_path / name
        save_file(other_weights, file) if name.endswith("safetensors") else torch.save(other_weights, file)
        file.write_bytes(file.read_bytes()[:-1000])
        with pytest.raises(ValueError, match=f"{name} (holds no weights|cannot be read)"):
            load_clip(tiny_clip, str(file))


def test_weights_of_another_architecture(other_weights: dict[str, torch.Tensor], tmp_path: Path) -> None:
    save_file(other_weights, tmp_path / "tiny.safetensors")
    with pytest.raises(ValueError, match=r"tiny\.safetensors does not fit clip_model='ViT-S-16-alt'"):
        load_clip("ViT-S-16-alt", str(tmp_path / "tiny.safetensors"))


def test_unknown_name_proposes_a_near_one() -> None:
    with pytest.raises(ValueError, match="did you mean ViT-B-16-plus-240"):
        load_clip("ViT-B-16-plus-2400", None)


def test_neither_tag_nor_file() -> None:
    with pytest.raises(FileNotFoundError, match=r"laion400m_e32.*pretrained=PATH"):
        load_clip("ViT-B-16-plus-240", "laion")


def test_safetensors_of_the_hub(tiny_clip: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The download is put in place here; the file is read as any other."""
    torch.manual_seed(3)
    state = {name: torch.randn_like(value) for name, value in load_clip(tiny_clip, None).state_dict().items()}
    save_file(state, tmp_path / "open_clip_model.safetensors")
    asked = []

    def download(repository: str, filename: str) -> str:
        asked.append((repository, filename))
        return str(tmp_path / filename)

    monkeypatch.setattr(weights, "hf_hub_download", download)
    found = load_clip(tiny_clip, "hf-hub:somebody/clip").state_dict()
    assert asked == [("somebody/clip", "open_clip_model.safetensors")]
    assert all(torch.equal(value, found[name]) for name, value in state.items())


def test_an_unreachable_hub_names_the_remedy(tiny_clip: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        msg = "Network is unreachable"
        raise OSError(msg)

    monkeypatch.setattr(weights, "hf_hub_download", refuse)
    with pytest.raises(ConnectionError, match=r"cannot be reached.*huggingface.co/somebody/clip; .*pretrained=PATH"):
        load_clip(tiny_clip, "hf-hub:somebody/clip")


def test_openais_large_model_is_open_clips_with_its_activation() -> None:
    own, theirs = (open_clip.get_model_config(name) for name in ("ViT-L-14-336-quickgelu", "ViT-L-14-336"))
    assert own == theirs | {"quick_gelu": True}


def test_unreachable_weights_name_the_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # no cache

    def refuse(*_: Any, **__: Any) -> None:
        msg = "Network is unreachable"
        raise OSError(msg)

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    with pytest.raises(ConnectionError, match=r"cannot be reached.*https://.*pretrained=PATH.*null"):
        load_clip("ViT-B-16-plus-240", "laion400m_e32")
