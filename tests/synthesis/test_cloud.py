# SPDX-License-Identifier: Apache-2.0
import torch

from anomalib_clip3dad.synthesis import spoil_cloud


def plate(side: int = 60) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A plate of 0.2 m, 0.5 m away, as foreground in a larger cloud, and a mask of 20 x 20 pixels on it."""
    line = torch.linspace(-0.15, 0.15, side)
    xyz = torch.stack([line.expand(side, side), line[:, None].expand(side, side), torch.full((side, side), 0.5)])
    foreground = (xyz[:2].abs() <= 0.1).all(dim=0)
    mask = torch.zeros(side, side, dtype=torch.bool)
    mask[20:40, 20:40] = True
    return xyz, foreground, mask


def test_dents_bumps_and_holes_each_come_up_and_stay_in_the_mask() -> None:
    xyz, foreground, mask = plate()
    extent = (xyz[0][foreground].max() - xyz[0][foreground].min()).item()
    kinds = []
    for _ in range(120):
        spoiled = spoil_cloud(xyz, foreground, mask)
        assert torch.equal(spoiled[:, ~mask], xyz[:, ~mask])
        if (spoiled[:, mask] == 0).all():
            kinds.append("hole")
            continue
        along = (spoiled.norm(dim=0) - xyz.norm(dim=0))[mask]
        deepest = along[along.abs().argmax()].item()
        kinds.append("dent" if deepest > 0 else "bump")
        assert 0.018 * extent <= abs(deepest) <= 0.08 * extent + 1e-6
        assert (along * deepest >= -1e-8).all()  # all of it to the same side
    share = {kind: kinds.count(kind) / 120 for kind in ("hole", "dent", "bump")}
    assert all(abs(value - 1 / 3) < 0.15 for value in share.values())


def test_small_anomalies_are_as_deep_as_large_ones() -> None:
    xyz, foreground, _ = plate(240)
    mask = torch.zeros(240, 240, dtype=torch.bool)
    mask[100:104, 100:104] = True
    extent = (xyz[0][foreground].max() - xyz[0][foreground].min()).item()
    for _ in range(20):
        spoiled = spoil_cloud(xyz, foreground, mask)
        if spoiled.norm(dim=0)[mask].min() > 0:
            assert (spoiled - xyz).norm(dim=0).max() >= 0.0199 * extent


def test_points_stay_on_their_line_of_sight() -> None:
    xyz, foreground, mask = plate()
    for _ in range(10):
        spoiled = spoil_cloud(xyz, foreground, mask)
        if spoiled.norm(dim=0)[mask].min() > 0:
            direction = spoiled / spoiled.norm(dim=0)
            torch.testing.assert_close(direction, xyz / xyz.norm(dim=0))


def test_what_was_not_measured_stays_so() -> None:
    xyz, foreground, mask = plate()
    xyz[:, 25, 25] = 0
    xyz[:, 0, 0] = torch.nan
    for _ in range(5):
        spoiled = spoil_cloud(xyz, foreground & (xyz[2] > 0), mask)
        assert (spoiled[:, 25, 25] == 0).all()
        assert spoiled[:, mask].isfinite().all()
