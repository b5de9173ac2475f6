# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest
import torch

from anomalib_clip3dad.geometry import (
    DEFAULT_VIEWS,
    MultiViewRenderer,
    place_camera,
    project,
    render_views,
    resize_organised,
    rotate,
    validity_mask,
    view_rotations,
)

from .scenes import bumpy, organise, plate


def slow_views(image, xyz, foreground, rotations, size):
    """Eq. 2-4 for one sample, point by point: every point pushes its splat into the z-buffer."""
    height, width = foreground.shape
    camera = place_camera(xyz[None].where(foreground, 0.0), foreground[None], size)
    points = xyz.where(foreground, 0.0).flatten(1)[None]
    pixels, depth = project(rotate(points, rotations, camera.centre), camera)
    index = np.flatnonzero(foreground.flatten().numpy())
    gaps = [
        np.hypot(*(xyz[:2, r, c] / xyz[2, r, c] - xyz[:2, r + i, c + j] / xyz[2, r + i, c + j]).tolist())
        for i, j in ((0, 1), (1, 0))
        for r in range(height - i)
        for c in range(width - j)
        if foreground[r, c] and foreground[r + i, c + j]
    ]
    enlargement = max((points[0, 2, n] / depth[0, k, n]).item() for k in range(len(rotations)) for n in index)
    radius = min(15, math.floor(math.sqrt(0.5) * camera.focal * max(gaps) * enlargement + 0.5))
    images = np.ones((len(rotations), 3, size, size), np.float32)
    visible = np.zeros((len(rotations), height * width), bool)
    for k in range(len(rotations)):
        best = {}
        placed = []
        for n in index:
            column, row = (math.floor(x + 0.5) for x in pixels[0, k, :, n].tolist())
            steps = 64 * round(1024 / camera.pixel_size.item() / 64)
            far = round(depth[0, k, n].item() * steps) / 1024
            if 0 <= column < size and 0 <= row < size:
                placed.append((n, row, column, far))
            for r in range(max(0, row - radius), min(size, row + radius + 1)):
                for c in range(max(0, column - radius), min(size, column + radius + 1)):
                    cost = far + abs(r - row) + abs(c - column)
                    key = (cost, max(c - column, 0), max(column - c, 0), max(r - row, 0), max(row - r, 0), n)
                    best[r, c] = min(best.get((r, c), (math.inf,)), key)
        for (r, c), key in best.items():
            images[k, :, r, c] = image[:, key[-1] // width, key[-1] % width]
        for n, row, column, far in placed:
            visible[k, n] = far <= best[row, column][0] + 2 * (radius + 1)
    return images, visible.reshape(-1, height, width), radius


@pytest.mark.parametrize(("shape", "size", "radius"), [((40, 30), 64, 1), ((50, 64), 24, 0), ((12, 20), 96, 4)])
def test_against_a_slow_z_buffer(shape, size, radius):
    image, xyz, foreground = bumpy(3, *shape)
    views = (1, 14, 27)
    fast = MultiViewRenderer(views, size)(image, xyz, foreground)
    images, visible, slow_radius = slow_views(image[0], xyz[0], foreground[0], view_rotations(views), size)
    assert slow_radius == radius  # the case is the one it is meant to be
    np.testing.assert_array_equal(fast.images[0].numpy(), images)
    np.testing.assert_array_equal(fast.visible[0].numpy(), visible)
    assert 0 < visible.sum() < len(views) * foreground.sum()  # and some of the surface is hidden


def test_points_farther_from_the_camera_than_from_the_sensor_have_small_splats():
    """A sensor of a wide angle: at the distance that fits them into the image, the gaps are smaller."""
    image, xyz, foreground = bumpy(3, 20, 24)
    xyz[:, :2] *= 4
    fast = MultiViewRenderer((1, 27), 96)(image, xyz, foreground)
    images, visible, radius = slow_views(image[0], xyz[0], foreground[0], view_rotations((1, 27)), 96)
    assert 0 < radius < math.floor(math.sqrt(0.5) * 96 / 2 / math.tan(math.radians(30)) * 4 / (1.5 * 24))
    np.testing.assert_array_equal(fast.images[0].numpy(), images)
    np.testing.assert_array_equal(fast.visible[0].numpy(), visible)


@pytest.mark.parametrize("size", [132, 136, 140])  # the outer points lie 15, 15 and 16 pixels from the image
@pytest.mark.parametrize("rows", [False, True])
def test_splats_of_points_outside_reach_into_the_image(size, rows):
    """A square of four points, turned so that two come so near that they leave the image at both sides."""
    side = torch.tensor([-0.1, 0.1])
    xyz = torch.stack(torch.broadcast_tensors(side, side[:, None], torch.tensor(0.6)))[None]
    turn = torch.tensor([[[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]])
    if rows:
        xyz, turn = xyz[:, [1, 0, 2]], turn[:, [1, 0, 2]][:, :, [1, 0, 2]]
    image, foreground = torch.rand(1, 3, 2, 2), torch.ones(1, 2, 2, dtype=torch.bool)
    fast = render_views(image, xyz, foreground, turn, size)
    images, visible, radius = slow_views(image[0], xyz[0], foreground[0], turn, size)
    assert radius == 15
    np.testing.assert_array_equal(fast.images[0].numpy(), images)
    np.testing.assert_array_equal(fast.visible[0].numpy(), visible)
    rim = fast.images[0, 0, 0, size // 2, [0, -1]] if not rows else fast.images[0, 0, 0, [0, -1], size // 2]
    assert (rim < 1).all() == (size < 140)


def test_positions_are_equation_4():
    image, xyz, foreground = bumpy(4, 20, 26)
    views = MultiViewRenderer(size=48)(image, xyz, foreground)
    camera = place_camera(xyz, foreground, 48)
    pixels, _ = project(rotate(xyz.flatten(2), view_rotations(DEFAULT_VIEWS), camera.centre), camera)
    seen = foreground[0]
    expected = pixels.reshape(1, 5, 2, 20, 26).permute(0, 1, 3, 4, 2)
    assert torch.equal(views.positions[:, :, seen], expected[:, :, seen])
    assert (views.positions[:, :, ~seen] == -1).all()


def test_front_hides_back():
    depth = np.full((60, 60), 0.6)
    depth[20:40, 25:35] = 0.45
    xyz = organise(depth)
    # the same rays again, continued behind the front plate: the sensor never measures that, a turned cloud may be so
    hidden = organise(np.full((60, 60), 0.6))
    cloud, foreground = torch.cat((xyz, hidden), dim=2), torch.ones(1, 120, 60, dtype=torch.bool)
    colours = torch.zeros(1, 3, 120, 60)
    colours[0, 0, 20:40, 25:35] = 1.0  # the front plate is red, all else black
    views = MultiViewRenderer(views=(1,), size=96)(colours, cloud, foreground)
    front, back = views.visible[0, 0, 20:40, 25:35], views.visible[0, 0, 60:]
    assert front.all()
    column, row = views.positions[0, 0, 60:].unbind(-1)
    u, v = views.positions[0, 0, 20:40, 25:35].flatten(0, 1).unbind(-1)
    inside = (column > u.min() + 1) & (column < u.max() - 1) & (row > v.min() + 1) & (row < v.max() - 1)
    outside = (column < u.min() - 6) | (column > u.max() + 6) | (row < v.min() - 6) | (row > v.max() + 6)
    assert inside.sum() > 100
    assert not back[inside].any()
    assert back[outside].all()
    red = views.images[0, 0, 0, math.ceil(v.min()) : math.floor(v.max()), math.ceil(u.min()) : math.floor(u.max())]
    assert (red == 1).all()


@pytest.mark.parametrize(
    ("native", "size", "share"),
    [
        ((64, 64), (64, 64), 0.3),
        ((64, 64), (64, 64), 0.95),
        ((64, 64), (240, 240), 0.6),  # enlarged: the points repeat
        ((240, 240), (240, 240), 0.2),
        ((240, 240), (240, 240), 1.0),
        ((300, 300), (240, 240), 0.9),  # shrunk: some gaps are twice the others
        ((600, 800), (240, 240), 0.5),
        ((400, 900), (400, 900), 0.4),
        ((800, 800), (800, 800), 0.9),
    ],
)
def test_flat_surface_has_no_holes(native, size, share):
    xyz, _ = plate(*native, share)
    xyz = resize_organised(xyz, size)
    foreground = validity_mask(xyz)
    black = torch.zeros_like(xyz)
    views = DEFAULT_VIEWS if max(size) > 240 else tuple(range(1, 28))
    rendered = MultiViewRenderer(views, 240)(black, xyz, foreground)
    rows, columns = foreground[0].any(1).nonzero()[:, 0], foreground[0].any(0).nonzero()[:, 0]
    top, bottom, left, right = rows[0], rows[-1], columns[0], columns[-1]
    corners = rendered.positions[0][:, [top, top, bottom, bottom], [left, right, right, left]]
    grid = torch.stack(torch.meshgrid(torch.arange(240.0), torch.arange(240.0), indexing="xy"), dim=-1)
    edges = corners.roll(-1, 1) - corners
    offset = grid - corners[:, :, None, None]
    cross = edges[..., None, None, 0] * offset[..., 1] - edges[..., None, None, 1] * offset[..., 0]
    inside = (cross / edges.norm(dim=-1)[..., None, None] >= 0).all(dim=1)
    assert inside.flatten(1).sum(1).min() > 5000
    assert (rendered.images[0, :, 0][inside] == 0).all()
    # the nearest corner of a tilted plate may leave the image; what is in it is seen
    cells = (rendered.positions[0] + 0.5).floor()
    assert torch.equal(rendered.visible[0], ((cells >= 0) & (cells < 240)).all(dim=-1) & foreground[0])


@pytest.mark.parametrize("view", [1, *DEFAULT_VIEWS])
def test_flat_surface_keeps_its_colours_in_place(view):
    # a splat must not cover its neighbour's middle, or the image of a tilted surface shifts against P_2D
    xyz, foreground = plate(80, 80, 0.7)  # 57 points on 171 pixels: each has a pixel of its own
    image = torch.rand(1, 3, 80, 80, generator=torch.Generator().manual_seed(0))
    views = MultiViewRenderer((view,), 240)(image, xyz, foreground)
    visible = views.visible[0, 0]
    assert visible.sum() > 0.95 * foreground.sum()
    column, row = (views.positions[0, 0][visible] + 0.5).floor().long().unbind(-1)
    assert torch.equal(views.images[0, 0][:, row, column], image[0][:, visible])


@pytest.mark.parametrize("shape", [(200, 120), (120, 200)])
def test_largest_edge_spans_its_share_of_the_image(shape):
    xyz, foreground = plate(*shape, 0.8)
    view = MultiViewRenderer((1,), 240)(torch.zeros_like(xyz), xyz, foreground).images[0, 0, 0]
    extents = [int((view == 0).any(axis).sum()) for axis in (0, 1)]
    assert max(extents) / 240 == pytest.approx(1 / 1.4, abs=0.02)
    assert (extents[1] > extents[0]) == (shape[0] > shape[1])


def test_batch_is_its_samples_and_twice_is_the_same():
    samples = [bumpy(seed, 40, 52) for seed in (5, 6, 7)]
    samples[1] = (samples[1][0], 1.7 * samples[1][1], samples[1][2])
    samples[2][2][:, :, 20:] = False  # another size of object, so another radius
    renderer = MultiViewRenderer(size=112)
    batch = [torch.cat(part) for part in zip(*samples, strict=True)]
    together, again = renderer(*batch), renderer(*batch)
    for i, sample in enumerate(samples):
        for name, alone in renderer(*sample)._asdict().items():
            assert torch.equal(getattr(together, name)[i : i + 1], alone), name
    for name, value in together._asdict().items():
        assert torch.equal(value, getattr(again, name)), name


@pytest.mark.parametrize("value", [0.0, math.nan])
def test_empty_cloud_is_white(value):
    image, xyz, foreground = bumpy(8, 30, 24)
    cloud = torch.cat((torch.full_like(xyz, value), xyz))
    mask = torch.cat((torch.zeros_like(foreground), foreground))
    views = MultiViewRenderer(size=32)(image.repeat(2, 1, 1, 1), cloud, mask)
    assert (views.images[0] == 1).all()
    assert not views.visible[0].any()
    assert views.visible[1].any()
    assert views.positions.isfinite().all()


def test_what_is_not_foreground_does_not_matter():
    image, xyz, foreground = bumpy(9, 30, 24)
    expected = MultiViewRenderer(size=32)(image, xyz, foreground)
    for junk in (math.nan, math.inf, -3.0):
        views = MultiViewRenderer(size=32)(image, xyz.where(foreground[:, None], junk), foreground)
        assert torch.equal(views.images, expected.images)
        assert torch.equal(views.positions, expected.positions)


def test_single_point_is_one_splat_in_the_middle():
    xyz, _ = plate(9, 9, 1.0)
    foreground = torch.zeros(1, 9, 9, dtype=torch.bool)
    foreground[0, 2, 7] = True
    views = MultiViewRenderer((1, 27), 33)(torch.zeros(1, 3, 9, 9), xyz, foreground)
    for view in views.images[0, :, 0]:
        assert (view == 0).nonzero().tolist() == [[16, 16]]


def test_wrong_shapes_are_named():
    image, xyz, foreground = bumpy(0, 8, 8)
    rotations = view_rotations((1,))
    with pytest.raises(ValueError, match=r"`image` has shape .* wanted that of `xyz`"):
        render_views(image, xyz[..., :6], foreground, rotations, 16)
    with pytest.raises(ValueError, match=r"`image` has shape .* wanted \(B, 3, H, W\)"):
        render_views(image[:, :1], xyz, foreground, rotations, 16)
    with pytest.raises(ValueError, match="`foreground` has shape"):
        render_views(image, xyz, foreground[0], rotations, 16)


def test_the_defaults_are_the_papers_views_at_240_pixels():
    views = MultiViewRenderer()(*bumpy(0, 8, 8))
    assert views.images.shape == (1, 5, 3, 240, 240)


def test_rotations_stay_out_of_the_checkpoint():
    assert not MultiViewRenderer().state_dict()


def test_exports_with_a_dynamic_batch():
    samples = [bumpy(seed, 20, 28) for seed in range(3)]
    batch = tuple(torch.cat(part) for part in zip(*samples, strict=True))
    renderer = MultiViewRenderer(size=32)
    size = torch.export.Dim("batch")
    program = torch.export.export(
        renderer, tuple(part[:2] for part in batch), dynamic_shapes=({0: size},) * 3, strict=False
    ).module()
    for count in (1, 3):
        expected, exported = (model(*(part[:count] for part in batch)) for model in (renderer, program))
        for one, other in zip(expected, exported, strict=True):
            assert torch.equal(one, other)
