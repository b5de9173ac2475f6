# SPDX-License-Identifier: Apache-2.0
import pytest


def test_processes_that_share_the_tests_leave_files_together(request: pytest.FixtureRequest) -> None:
    """Or each of them makes what the tests of a file share, which takes minutes."""
    if not getattr(request.config.option, "loadgroup", False):
        pytest.skip("one process runs all tests")
    assert request.node.nodeid.endswith(f"@test_grouping.py{request.path.parent}")
