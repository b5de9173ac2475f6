# SPDX-License-Identifier: Apache-2.0
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch

from anomalib_clip3dad.clip import cached_embeddings, embed_prompts, load_clip, text_cache

SETS = (["a photo of a gear"], ["a photo of a broken gear", "a cracked gear"])


@pytest.fixture
def tower(tiny_clip: str) -> tuple[Any, Any]:
    return load_clip(tiny_clip, None), open_clip.get_tokenizer(tiny_clip)


def cached(tower: tuple[Any, Any], *sets: list[str], clip_model: str = "ViT-test-tiny") -> torch.Tensor:
    return cached_embeddings(tower[0], clip_model, tower[1], *sets)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each time the text tower runs."""
    counted: list[int] = []

    def counting(*args: Any) -> torch.Tensor:
        counted.append(1)
        return embed_prompts(*args)

    monkeypatch.setattr(text_cache, "embed_prompts", counting)
    return counted


def test_embedded_once(tower: tuple[Any, Any], passes: list[int]) -> None:
    first, second = (cached(tower, *SETS) for _ in range(2))
    assert len(passes) == 1
    assert torch.equal(first, second)
    assert torch.equal(first, embed_prompts(*tower, *SETS))


def test_other_prompts_and_other_weights_are_other_files(tower: tuple[Any, Any], passes: list[int]) -> None:
    cached(tower, *SETS)
    cached(tower, *SETS[::-1])
    with torch.no_grad():
        tower[0].ln_final.bias += 1
    changed = cached(tower, *SETS)
    assert len(passes) == 3
    assert torch.equal(changed, embed_prompts(*tower, *SETS))
    with torch.no_grad():
        tower[0].visual.conv1.weight += 1
    cached(tower, *SETS)
    assert len(passes) == 3  # the vision tower says nothing about prompts


def test_another_architecture_with_the_same_weights_is_another_file(tower: tuple[Any, Any], passes: list[int]) -> None:
    for clip_model in ("ViT-B-16", "ViT-B-16-quickgelu"):
        cached(tower, *SETS, clip_model=clip_model)
    assert len(passes) == 2


def test_a_broken_file_is_made_again(tower: tuple[Any, Any], passes: list[int]) -> None:
    right = cached(tower, *SETS)
    (file,) = text_cache.cache_folder().iterdir()
    file.write_bytes(file.read_bytes()[:20])
    assert torch.equal(cached(tower, *SETS), right)
    assert torch.equal(cached(tower, *SETS), right)
    assert len(passes) == 2


def test_a_folder_that_cannot_be_written_to_is_no_error(
    tower: tuple[Any, Any], passes: list[int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))  # neither read nor written below a file
    assert torch.equal(cached(tower, *SETS), cached(tower, *SETS))
    assert len(passes) == 2
