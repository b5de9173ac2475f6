# SPDX-License-Identifier: Apache-2.0
import torch

from anomalib_clip3dad.data.batch import EVIDENCE_KINDS, RGBXYZBatch, RGBXYZItem


def item(value: float, evidence: bool = True) -> RGBXYZItem:
    kinds = torch.full((len(EVIDENCE_KINDS), 4, 5), value) if evidence else None
    return RGBXYZItem(image=torch.rand(3, 4, 5), depth_map=torch.rand(3, 4, 5), evidence=kinds)


def test_evidence_is_stacked_and_taken_apart_again() -> None:
    batch = RGBXYZBatch.collate([item(1), item(2)])
    assert batch.evidence is not None
    assert batch.evidence.shape == (2, 4, 4, 5)
    for value, one in enumerate(batch, start=1):
        assert isinstance(one, RGBXYZItem)
        assert torch.equal(one.evidence, torch.full((4, 4, 5), float(value)))


def test_models_that_do_not_tell_leave_none() -> None:
    batch = RGBXYZBatch.collate([item(1, evidence=False), item(2, evidence=False)])
    assert batch.evidence is None
    assert [one.evidence for one in batch] == [None, None]
