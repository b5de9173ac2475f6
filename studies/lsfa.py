# SPDX-License-Identifier: Apache-2.0
"""What LSFA's adaptation adds: none, CLC, IFC and both, beside BTF and PatchCore on the same backbone and shots.

Finished runs are kept in --out, so that the same command goes on where it stopped, and more seeds can be added.

python studies/lsfa.py --categories gear knob --k_shot 1 4 --seeds 0
python studies/lsfa.py --root MVTEC_3D_AD --categories cable_gland --k_shot 1 4 24 --seeds 0 1 2
python studies/lsfa.py --settings '{"cloud_features": "fpfh"}' --only "no adaptation" LSFA BTF --out results/lsfa_fpfh
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from shot_runs import over_seeds, settings_of

from anomalib_clip3dad.benchmark.grid import Job, make_jobs
from anomalib_clip3dad.benchmark.runner import on_this_machine, run_grid
from anomalib_clip3dad.benchmark.store import Store
from anomalib_clip3dad.toy import CATEGORIES

_SIZE = 224  # at which maps are evaluated, as in the paper
_TOY = {"num_train": 16, "num_good": 10, "num_defects": 8}  # parts of a category of Toy3D, 8 of each kind of defect
_MIB = 2**20
_SWITCHES = {
    "no adaptation": {"clc": False, "ifc": False},
    "CLC": {"clc": True, "ifc": False},
    "IFC": {"clc": False, "ifc": True},
    "LSFA": {"clc": True, "ifc": True},
}
_OTHERS = {"BTF": "anomalib_clip3dad.models.Btf", "PatchCore": "anomalib_clip3dad.benchmark.baselines.Patchcore"}


def models(settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Models of the study, as in a grid.

    Args:
        settings: Arguments of `Lsfa`; the others take its backbone.

    Returns:
        LSFA without adaptation, with one loss and with both, then BTF and PatchCore.
    """
    own = [
        {"name": name, "class_path": "anomalib_clip3dad.models.Lsfa", "init_args": settings | chosen}
        for name, chosen in _SWITCHES.items()
    ]
    shared = ("backbone", "layers", "pre_trained", "backbone_weights")
    backbone = {name: settings[name] for name in shared if name in settings} | {"image_size": _SIZE}
    return own + [{"name": name, "class_path": path, "init_args": backbone} for name, path in _OTHERS.items()]


def jobs(arguments: argparse.Namespace) -> list[Job]:
    """All runs of the command line, ordered by seed."""
    toy = set(arguments.categories) <= set(CATEGORIES)
    data = {
        "class_path": f"anomalib_clip3dad.data.{'Toy3D' if toy else 'MVTec3DXYZ'}",
        "init_args": {"root": str(arguments.root), **(_TOY if toy else {})},
    }
    asked = (arguments.categories, arguments.k_shot, arguments.seeds)
    every = models(settings_of(arguments.config) | arguments.settings)
    chosen = [model for model in every if model["name"] in arguments.only]
    return make_jobs(data, *asked, chosen, {"accelerator": "auto"}, _SIZE)


def tables(asked: Sequence[Job], store: Store) -> Iterator[Table]:
    """One table for each number of shots: means over the categories, mean and standard deviation over the seeds."""
    for k_shot in dict.fromkeys(job.k_shot for job in asked):
        table = Table("", "I-AUROC", "AUPRO", "fit, s", "samples / s", "memory, MiB", title=f"{k_shot} shots")
        for name in dict.fromkeys(job.name for job in asked):
            alike = [job for job in asked if (job.k_shot, job.name) == (k_shot, name)]
            found = [record | {"seed": job.seed} for job in alike if (record := store.load(job))]
            if len(found) == len(alike):
                table.add_row(name, *cells(found))
        yield table


def cells(found: list[dict[str, Any]]) -> Iterator[str]:
    """Metrics with their standard deviation, if there are several seeds; cost without."""
    for metric in ("image_AUROC", "pixel_AUPRO"):
        value = over_seeds(found, metric)
        yield f"{value['mean']:.3f}" + ("" if value["deviation"] is None else f" ± {value['deviation']:.3f}")
    yield f"{over_seeds(found, 'fit_seconds')['mean']:.1f}"
    yield f"{over_seeds(found, 'samples_per_second')['mean']:.2f}"
    yield f"{max(record['peak_cpu_bytes'] for record in found) / _MIB:.0f}"


def main() -> None:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--root", type=Path, default=Path("datasets/Toy3D_16"), help="created if missing")
    add("--categories", nargs="+", default=list(CATEGORIES), help="of Toy3D, or folders of --root (MVTec 3D-AD layout)")
    add("--k_shot", type=int, nargs="+", default=[1, 2, 4, 16])
    add("--seeds", type=int, nargs="+", default=[0, 1, 2], help="seeds of shots and training")
    add("--config", default="lsfa.yaml", help="config in configs/ with the arguments of Lsfa")
    add("--settings", type=json.loads, default={}, metavar="JSON", help="arguments of Lsfa in place of the config's")
    add("--only", nargs="+", default=[*_SWITCHES, *_OTHERS], choices=[*_SWITCHES, *_OTHERS], metavar="MODEL")
    add("--threads", type=int, help="threads of a run; default: torch's")
    add("--out", type=Path, default=Path("results/lsfa"))
    arguments = parser.parse_args()
    asked = jobs(arguments)
    run_grid(asked, arguments.out, partial(on_this_machine, folder=arguments.out, cpus=arguments.threads))
    console = Console(width=120)
    for table in tables(asked, Store(arguments.out)):
        console.print(table)


if __name__ == "__main__":
    main()
