# SPDX-License-Identifier: Apache-2.0
"""Our renderer against Open3D's off-screen renderer on the same cloud, views and camera: time and agreement.

Open3D is not a dependency of this package. For this comparison, run `pip install open3d==0.19.0` and, on a machine
without a GPU, install Mesa (`apt install libegl-mesa0 libgl1-mesa-dri libusb-1.0-0`).

EGL_PLATFORM=surfaceless python studies/open3d_rendering.py
"""

import argparse
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import open3d
import torch
from cost import in_turns
from open3d.visualization import rendering
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torchvision.transforms.v2.functional import resize
from torchvision.utils import save_image

from anomalib_clip3dad.data import Toy3D
from anomalib_clip3dad.geometry import (
    DEFAULT_VIEWS,
    Camera,
    MultiViewRenderer,
    foreground_mask,
    place_camera,
    resize_organised,
    view_rotations,
)
from anomalib_clip3dad.toy import CATEGORIES

SIDE = 240
WHITE = 0.995  # pixels whose darkest channel is above this are background


class Sample:
    """An image (1, 3, SIDE, SIDE), its cloud and foreground, and the camera of our renderer."""

    def __init__(self, category: str, root: str) -> None:
        data = Toy3D(root=root, category=category)
        data.prepare_data()
        data.setup()
        item: Any = data.test_data[0]
        image = resize(torch.as_tensor(item.image), [SIDE, SIDE], antialias=True)
        # otherwise pure white parts would count as background
        self.image = image.clamp(0, 0.95)[None]
        self.xyz = resize_organised(item.depth_map[None], (SIDE, SIDE))
        self.foreground = foreground_mask(self.xyz)
        self.camera = place_camera(self.xyz, self.foreground, SIDE)


class Open3D:
    """Open3D's off-screen renderer, set up once."""

    def __init__(self) -> None:
        self.renderer = rendering.OffscreenRenderer(SIDE, SIDE)
        self.renderer.scene.set_background([1.0, 1.0, 1.0, 1.0])
        self.renderer.scene.view.set_post_processing(False)  # no tone mapping, to keep the colours
        self.material = rendering.MaterialRecord()
        self.material.shader = "defaultUnlit"

    def render(self, sample: Sample, rotations: Tensor, point_size: float) -> Tensor:
        """Render all views of a sample, (v, 3, SIDE, SIDE) in [0, 1]; Open3D gets the cloud once and rotates it."""
        self.material.point_size = point_size
        scene, camera = self.renderer.scene, sample.camera
        chosen = sample.foreground[0].flatten()
        cloud = open3d.geometry.PointCloud()
        for name, field in (("points", sample.xyz), ("colors", sample.image)):
            values = field[0].flatten(1).T[chosen].double().numpy()
            setattr(cloud, name, open3d.utility.Vector3dVector(values))
        scene.clear_geometry()
        scene.add_geometry("part", cloud, self.material)
        self.renderer.setup_camera(intrinsics(camera), extrinsics(camera), SIDE, SIDE)
        # Open3D would set the clipping planes by the part before its rotation
        distance = camera.distance[0, 0].item()
        scene.camera.set_projection(intrinsics(camera), 0.1 * distance, 3 * distance, SIDE, SIDE)
        pictures = []
        for rotation in rotations:
            scene.set_geometry_transform("part", about(rotation, camera.centre[0]))
            pictures.append(np.asarray(self.renderer.render_to_image()))
        return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255


def intrinsics(camera: Camera) -> Any:
    """K of Eq. 4, whose pixel centres are at integers; those of Open3D's rasteriser are at halves."""
    f, c = camera.focal, camera.principal + 0.5
    return np.array([[f, 0, c], [0, f, c], [0, 0, 1]])


def extrinsics(camera: Camera) -> Any:
    """T of Eq. 4."""
    matrix = np.eye(4)
    matrix[:3, 3] = -camera.eye[0, 0].numpy()
    return matrix


def about(rotation: Tensor, centre: Tensor) -> Any:
    """Rotation about a point as a 4 x 4 matrix."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation.numpy()
    matrix[:3, 3] = (centre - rotation @ centre).numpy()
    return matrix


def compare(ours: Tensor, theirs: Tensor) -> tuple[float, float]:
    """Intersection over union of the silhouettes, and mean colour error where both show the part.

    Open3D draws squares that face the camera, and a near one covers its neighbours over its full width; ours recede
    towards their rims, so that each point keeps its own pixel. Colours are compared with Open3D's single points, too.
    """
    one, other = (picture.amin(dim=1) < WHITE for picture in (ours, theirs))
    both = one & other
    error = (ours - theirs).abs().mean(dim=1)[both].mean().item()
    return (both.sum() / (one | other).sum()).item(), error


def first_views(renderer: MultiViewRenderer, sample: Sample) -> Tensor:
    """Render all views of a sample with our renderer, (v, 3, SIDE, SIDE)."""
    return renderer(sample.image, sample.xyz, sample.foreground).images[0]


def main() -> None:
    """Compare every category."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--categories", nargs="+", choices=CATEGORIES, default=list(CATEGORIES), metavar="CATEGORY")
    parser.add_argument("--root", default="datasets/Toy3D", help="created if missing")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2, help="threads of our renderer; Open3D chooses its own")
    parser.add_argument("--point_size", type=float, default=3.0, help="size of Open3D's points in pixels")
    parser.add_argument("--picture", help="file for the views of both, one below the other")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(arguments.threads)
    theirs, ours = Open3D(), MultiViewRenderer(DEFAULT_VIEWS, SIDE)
    rotations = view_rotations(DEFAULT_VIEWS)
    names = "ours s", "Open3D s", "ratio", "silhouette IoU", "colour error", "colour error, single points"
    table = Table("category", *names, title="5 views")
    sheets = []
    for category in arguments.categories:
        sample = Sample(category, arguments.root)
        tasks: dict[str, Callable[[], Tensor]] = {
            "ours": partial(first_views, ours, sample),
            "theirs": partial(theirs.render, sample, rotations, arguments.point_size),
        }
        pictures = [task() for task in tasks.values()]
        overlap, error = compare(*pictures)
        _, of_points = compare(pictures[0], theirs.render(sample, rotations, point_size=1.0))
        times = in_turns(tasks, arguments.repeats)
        cells = [times["ours"], times["theirs"], times["theirs"] / times["ours"], overlap, error, of_points]
        table.add_row(category, *(f"{cell:.3f}" for cell in cells))
        sheets += [torch.cat(tuple(picture), dim=-1) for picture in pictures]
    Console().print(table)
    if arguments.picture:
        save_image(torch.cat(sheets, dim=-2), arguments.picture)


if __name__ == "__main__":
    main()
