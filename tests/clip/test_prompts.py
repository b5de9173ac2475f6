# SPDX-License-Identifier: Apache-2.0
import pytest
from anomalib.models.image.winclip.prompting import create_prompt_ensemble

from anomalib_clip3dad.clip import PROMPT_SETS, prompt_ensemble


def test_cpe_is_winclips() -> None:
    assert prompt_ensemble("cpe", "cable gland") == create_prompt_ensemble("cable gland")


def test_there_are_the_eight_sets_of_figure_6() -> None:
    assert len(PROMPT_SETS) == 8
    written = {name: prompt_ensemble(name, "tire") for name in PROMPT_SETS}
    assert len({str(prompts) for prompts in written.values()}) == 8
    for normal, anomalous in written.values():
        assert normal
        assert anomalous
        assert not set(normal) & set(anomalous)
        assert all("tire" in prompt and "{" not in prompt for prompt in normal + anomalous)


def test_own_templates_are_filled_with_all_states() -> None:
    normal, anomalous = prompt_ensemble(["an X-ray of the {}."], "weld")
    assert len(normal) == 7
    assert len(anomalous) == 4
    assert "an X-ray of the flawless weld." in normal
    assert "an X-ray of the damaged weld." in anomalous


@pytest.mark.parametrize("wrong", ["nonsense", ["no place for a name"], ["{} and {}"], []])
def test_wrong_prompts_say_what_is_needed(wrong: str | list[str]) -> None:
    with pytest.raises(ValueError, match="prompts="):
        prompt_ensemble(wrong)
