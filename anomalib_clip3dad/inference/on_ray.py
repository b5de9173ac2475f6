# SPDX-License-Identifier: Apache-2.0
"""Parts of a folder, judged on a Ray cluster."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from anomalib_clip3dad.data.listing import Sample
from anomalib_clip3dad.errors import InputError
from anomalib_clip3dad.ray_cluster import cluster

from .folder import Verdict, judge
from .runtimes import open_model


class _Judge:
    """A model in a process of its own."""

    def __init__(self, model: Path, folder: Path, intrinsics: Path | None, device: str) -> None:
        self.model, self.folder, self.intrinsics = open_model(model, device), folder, intrinsics

    def judge(self, sample: Sample) -> Verdict:
        return judge(self.model, sample, self.folder, self.intrinsics)


def judge_on_ray(
    model: Path, parts: Sequence[Sample], folder: Path, intrinsics: Path | None, device: str, address: str | None
) -> Iterator[Verdict]:
    """Judge parts on as many processes as the cluster has CPUs for, each with the model.

    Args:
        model: See `open_model`.
        parts: Files of the parts.
        folder: See `judge`.
        intrinsics: See `judge`.
        device: See `open_model`.
        address: Address of a running cluster, "auto" or ray://HOST:PORT; None starts one on this machine.

    Yields:
        The verdicts, as they are ready.

    Raises:
        ImportError: If Ray is not installed.
        ConnectionError: If there is no cluster at the address.
    """
    with cluster(address) as ray:
        from ray.util import ActorPool  # noqa: PLC0415  # optional

        number = max(1, min(len(parts), int(ray.cluster_resources().get("CPU", 1))))
        # absolute, since processes of a cluster start elsewhere
        arguments = (model.absolute(), folder.absolute(), intrinsics and intrinsics.absolute(), device)
        judges: list[Any] = [ray.remote(num_cpus=1)(_Judge).remote(*arguments) for _ in range(number)]
        here = {sample.image.absolute(): sample for sample in parts}
        absolute = [Sample(sample.image.absolute(), sample.scan.absolute()) for sample in parts]
        try:
            for verdict in ActorPool(judges).map_unordered(lambda judge, sample: judge.judge.remote(sample), absolute):
                yield verdict._replace(sample=here[verdict.sample.image])
        except ray.exceptions.RayError as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            msg = f"--runner ray: a process of the cluster failed ({reason}); what was judged before is in scores.csv"
            raise InputError(msg) from None
