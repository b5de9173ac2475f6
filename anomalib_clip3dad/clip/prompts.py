# SPDX-License-Identifier: Apache-2.0
"""Prompt sets: descriptions of a normal and of an anomalous part."""

from collections.abc import Sequence
from typing import NamedTuple

from anomalib_clip3dad.errors import InputError

_PHOTO = ("a photo of a {}.", "a photo of the {}.")


class PromptSet(NamedTuple):
    """Every template is combined with every state, and every state with the class name; None means WinCLIP's."""

    normal_states: Sequence[str] | None = None
    anomalous_states: Sequence[str] | None = None
    templates: Sequence[str] | None = None


PROMPT_SETS: dict[str, PromptSet] = {
    # WinCLIP's compositional prompt ensemble, which the paper uses (section 4.1.3).
    "cpe": PromptSet(),
    # Figure 6 compares CPE with seven simpler sets and names only the simplest of them, "photo" here.
    # The six others are ours: they leave out states, templates or both.
    "cpe_states": PromptSet(templates=_PHOTO),
    "cpe_templates": PromptSet(("{}",), ("damaged {}",)),
    "flawless": PromptSet(("flawless {}",), ("damaged {}",), _PHOTO),
    "perfect": PromptSet(("perfect {}",), ("{} with defect",), _PHOTO),
    "without_flaw": PromptSet(("{} without flaw",), ("{} with flaw",), _PHOTO),
    "normal": PromptSet(("normal {}",), ("abnormal {}",), _PHOTO),
    "photo": PromptSet(("{}",), ("damaged {}",), _PHOTO),
}


def prompt_ensemble(prompts: str | Sequence[str] = "cpe", class_name: str = "object") -> tuple[list[str], list[str]]:
    """Build the prompts of one class.

    CLIP3D-AD, sections 4.1.3 and 4.5; the states and templates of "cpe" are those of WinCLIP (anomalib).

    Args:
        prompts: Name of one of `PROMPT_SETS`, or templates such as "a photo of a {}.", each with one {} for WinCLIP's
            states.
        class_name: Name of the part, such as "cable gland".

    Returns:
        The prompts of the normal and those of the anomalous part.

    Raises:
        ValueError: If there is no such set, or a template has no {}.

    Example:
        >>> normal, anomalous = prompt_ensemble("photo", "bagel")
        >>> normal, anomalous[0]
        (['a photo of a bagel.', 'a photo of the bagel.'], 'a photo of a damaged bagel.')
        >>> [len(side) for side in prompt_ensemble("cpe", "bagel")]
        [147, 84]
    """
    if isinstance(prompts, str):
        if prompts not in PROMPT_SETS:
            msg = f"prompts={prompts!r}: there is no such prompt set; choose one of {', '.join(PROMPT_SETS)}, or give "
            msg += "a list of templates such as ['a photo of a {}.']"
            raise InputError(msg)
        chosen = PROMPT_SETS[prompts]
    else:
        wrong = [template for template in prompts if template.count("{}") != 1]
        if wrong or not prompts:
            msg = f"prompts={list(prompts)!r}: each template needs exactly one {{}} for the part's state and name"
            raise InputError(msg)
        chosen = PromptSet(templates=prompts)

    # not at the top: importing anomalib's models also imports ours, which need this module
    from anomalib.models.image.winclip import prompting as winclip  # noqa: PLC0415

    templates = chosen.templates or winclip.TEMPLATES

    def write(states: Sequence[str]) -> list[str]:
        return [template.format(state.format(class_name)) for state in states for template in templates]

    normal = chosen.normal_states or winclip.NORMAL_STATES
    anomalous = chosen.anomalous_states or winclip.ANOMALOUS_STATES
    return write(normal), write(anomalous)
