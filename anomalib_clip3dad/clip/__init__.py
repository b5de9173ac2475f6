# SPDX-License-Identifier: Apache-2.0
"""The frozen CLIP: its weights, its vision tower, its prompts and their embeddings."""

from . import stem  # noqa: F401  # registers the small CLIP's vision tower with timm
from .prompts import PROMPT_SETS, prompt_ensemble
from .text import embed_prompts
from .text_cache import cached_embeddings
from .vision import VisionTower
from .weights import load_clip

__all__ = ["PROMPT_SETS", "VisionTower", "cached_embeddings", "embed_prompts", "load_clip", "prompt_ensemble"]
