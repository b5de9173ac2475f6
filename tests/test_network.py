# SPDX-License-Identifier: Apache-2.0
"""The guard in conftest.py, on which all other tests rely."""

import socket
import urllib.request

import pytest


def test_who_asks_for_the_network_is_refused_and_remembered(network: list[str]) -> None:
    with pytest.raises(OSError, match=r"tests have no network: pypi\.org"):
        urllib.request.urlopen("https://pypi.org/simple/")
    with pytest.raises(OSError, match=r"tests have no network: 1\.1\.1\.1"):
        socket.create_connection(("1.1.1.1", 80))
    assert set(network) == {"pypi.org", "1.1.1.1"}
    network.clear()


def test_this_machine_can_be_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()
