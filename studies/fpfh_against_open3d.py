# SPDX-License-Identifier: Apache-2.0
"""Our FPFH against Open3D's on point clouds of toy parts: agreement, and time on one thread.

Open3D is not a dependency of this package. Install it for this comparison: `pip install open3d==0.19.0`.

OMP_NUM_THREADS=1 python studies/fpfh_against_open3d.py
"""

import argparse
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import open3d
import torch
from cost import in_turns
from rich.console import Console
from rich.table import Table
from torch import Tensor

from anomalib_clip3dad.geometry import foreground_mask
from anomalib_clip3dad.geometry.fpfh import Neighbours, estimate_normals, find_neighbours, fpfh
from anomalib_clip3dad.toy import CATEGORIES, toy_sample

# BTF's: radius in metres and largest number of neighbours, including the point itself
NORMAL, FEATURE = (0.1, 30), (0.25, 100)


class Open3D:
    """Open3D's neighbours, normals and histograms of one cloud.

    Args:
        points: Points `(N, 3)` in metres.
    """

    def __init__(self, points: Tensor) -> None:
        self.points = points.numpy()
        self.cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(self.points))

    def normals(self) -> Tensor:
        """Estimate normals `(N, 3)`, with the signs that Open3D gives them."""
        self.cloud.normals = open3d.utility.Vector3dVector()
        self.cloud.estimate_normals(open3d.geometry.KDTreeSearchParamHybrid(*NORMAL))
        return torch.from_numpy(np.array(self.cloud.normals))

    def fpfh(self) -> Tensor:
        """Histograms `(N, 33)` with the last estimated normals."""
        search = open3d.geometry.KDTreeSearchParamHybrid(*FEATURE)
        feature = open3d.pipelines.registration.compute_fpfh_feature(self.cloud, search)
        return torch.from_numpy(feature.data.T.copy())

    def neighbours(self) -> Tensor:
        """Indices of neighbours `(N, 100)`, sorted by index; N where there are fewer."""
        tree = open3d.geometry.KDTreeFlann(self.cloud)
        found = torch.full((len(self.points), FEATURE[1]), len(self.points))
        for row, point in enumerate(self.points):
            _, indices, _ = tree.search_hybrid_vector_3d(point, *FEATURE)
            found[row, : len(indices)] = torch.from_numpy(np.array(indices))
        return found.sort(dim=1).values


def toy_points(category: str, side: int) -> Tensor:
    """Foreground of a toy part, (N, 3) float64."""
    xyz = torch.from_numpy(toy_sample(category, "good", size=(side, side)).xyz).movedim(-1, 0)[None]
    return xyz[0, :, foreground_mask(xyz)[0]].T.double().contiguous()


def agreeing(ours: Neighbours, theirs: Tensor) -> Tensor:
    """Points `(N,)` whose own neighbourhood and those of all their neighbours are the same in both.

    Neighbourhoods can differ if two points tie for the 100th nearest.
    """
    same = (ours.indices.sort(dim=1).values == theirs).all(dim=1)
    padded = torch.cat((same, torch.ones(1, dtype=torch.bool)))  # the last entry is for missing neighbours
    return same & padded[ours.indices].all(dim=1)


def compare(category: str, arguments: argparse.Namespace) -> list[str]:
    """Compare both on one category; return a row of the table."""
    points = toy_points(category, arguments.side)
    theirs = Open3D(points)
    normals, features = theirs.normals(), theirs.fpfh()
    near = find_neighbours(points, *FEATURE)
    found = fpfh(points, normals, near)
    rows = agreeing(near, theirs.neighbours())
    difference = ((found - features).norm(dim=1) / features.norm(dim=1))[rows].max().item()
    angle = (estimate_normals(points, near.within(*NORMAL)) * normals).sum(dim=1).abs().clamp(max=1).acos().rad2deg()

    def all_ours() -> Tensor:
        near = find_neighbours(points, *FEATURE)
        return fpfh(points, estimate_normals(points, near.within(*NORMAL)), near)

    def all_theirs() -> Tensor:
        theirs.normals()
        return theirs.fpfh()

    tasks: dict[str, Callable[[], Any]] = {
        "ours": lambda: fpfh(points, normals, find_neighbours(points, *FEATURE)),
        "theirs": theirs.fpfh,
        "all ours": all_ours,
        "all theirs": all_theirs,
    }
    times = in_turns(tasks, arguments.repeats)
    cells = [f"{difference:.1e}", f"{angle.median():.1e}", *(f"{seconds:.3f}" for seconds in times.values())]
    ratios = times["theirs"] / times["ours"], times["all theirs"] / times["all ours"]
    return [category, str(len(points)), f"{rows.double().mean():.4f}", *cells, *(f"{ratio:.2f}" for ratio in ratios)]


def main() -> None:
    """Compare every category."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--categories", nargs="+", choices=CATEGORIES, default=list(CATEGORIES)[:3], metavar="CATEGORY")
    add("--side", type=int, default=224, help="height and width of the clouds in pixels")
    add("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    columns = [
        "category",
        "points",
        "share with equal neighbourhoods",
        "largest relative difference there",
        "median angle of normals, degrees",
        "ours s",
        "Open3D s",
        "with normals, ours s",
        "with normals, Open3D s",
        "ratio",
        "ratio with normals",
    ]
    table = Table(*columns, title="FPFH, medians of one run, interleaved")
    for category in arguments.categories:
        table.add_row(*compare(category, arguments))
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
