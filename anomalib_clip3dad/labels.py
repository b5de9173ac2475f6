# SPDX-License-Identifier: Apache-2.0
"""Labels in tables of results, and their summary."""

from collections import Counter
from collections.abc import Iterator, Sequence

GOOD, FAULTY = "good", "faulty"


def label_of(faulty: bool | None) -> str:
    """Name a label; "" if there is none, for want of a threshold."""
    return "" if faulty is None else (FAULTY if faulty else GOOD)


def summary(labels: Sequence[str], kinds: Sequence[str] = ()) -> Iterator[str]:
    """Summarise the labels of samples.

    Args:
        labels: One for each sample, see `label_of`.
        kinds: What each sample is known to be, such as good or hole; "" if it is not known.

    Yields:
        How many samples are labelled faulty, and how many of each kind, if kinds are known.

    Example:
        >>> list(summary(["good", "faulty"], ["good", "hole"]))
        ['1 of 2 samples labelled faulty.', '  good: 0 of 1', '  hole: 1 of 1']
    """
    if "" in labels:
        yield f"{len(labels)} samples scored; without a threshold there are no labels."
        return
    yield f"{list(labels).count(FAULTY)} of {len(labels)} samples labelled faulty."
    faulty = Counter(kind for label, kind in zip(labels, kinds, strict=False) if label == FAULTY)
    for kind, samples in sorted(Counter(kind for kind in kinds if kind).items()):
        yield f"  {kind}: {faulty[kind]} of {samples}"
