# SPDX-License-Identifier: Apache-2.0
import sys

import pytest

from anomalib_clip3dad.errors import MissingPackageError, UnreachableError
from anomalib_clip3dad.ray_cluster import cluster

# that of the other tests with a cluster, which "auto" would find at the same time
pytestmark = pytest.mark.xdist_group("undisturbed")


@pytest.mark.slow
def test_only_a_connection_of_its_own_is_closed() -> None:
    ray = pytest.importorskip("ray", reason="the extra `distributed` is not installed")
    with cluster(None):
        assert ray.is_initialized()
        with cluster(None):
            pass
        assert ray.is_initialized()
    assert not ray.is_initialized()


@pytest.mark.slow
def test_no_cluster_at_the_address() -> None:
    pytest.importorskip("ray", reason="the extra `distributed` is not installed")
    with pytest.raises(UnreachableError, match=r"--address auto: no Ray cluster answers"):
        cluster("auto").__enter__()


def test_without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'anomalib_clip3dad\[distributed\]'"):
        cluster(None).__enter__()
