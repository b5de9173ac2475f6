# SPDX-License-Identifier: Apache-2.0
"""Connection to a Ray cluster, on this or on many machines."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from anomalib_clip3dad.errors import MissingPackageError, UnreachableError


@contextmanager
def cluster(address: str | None) -> Iterator[Any]:
    """Connect to a cluster, unless this process is connected; a connection that was made here is closed at the end.

    Args:
        address: Address of a running cluster, "auto" or ray://HOST:PORT; None starts one on this machine.

    Yields:
        The module `ray`.

    Raises:
        ImportError: If Ray is not installed.
        ConnectionError: If there is no cluster at the address.
    """
    ray = _import_ray()
    started = not ray.is_initialized()
    if started:
        _connect(ray, address)
    try:
        yield ray
    finally:
        if started:
            ray.shutdown()


def _connect(ray: Any, address: str | None) -> None:
    try:
        # without "local" Ray would join any cluster that is running on this machine
        ray.init(address=address or "local", log_to_driver=False, include_dashboard=None if address else False)
    except (ConnectionError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        msg = f"--address {address}: no Ray cluster answers ({reason}); start one (ray start --head), correct the "
        msg += "address, or give its token, which Ray asks for unless RAY_AUTH_MODE=disabled holds on both sides"
        raise UnreachableError(msg) from None


def _import_ray() -> Any:
    try:
        import ray  # noqa: PLC0415 - optional
    except ImportError:
        msg = "--runner ray: Ray is not installed; pip install 'anomalib_clip3dad[distributed]', or use --runner local"
        raise MissingPackageError(msg) from None
    return ray
