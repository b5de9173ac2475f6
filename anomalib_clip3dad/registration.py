# SPDX-License-Identifier: Apache-2.0
"""Import hook: importing another package's module also imports one of ours."""

import importlib
import importlib.abc
import importlib.util
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType


def register_with(host: str, guest: str) -> None:
    """Import a module right after another one, or now if that one is already imported.

    Args:
        host: Module to wait for.
        guest: Module to import then; it registers itself with the host.
    """
    if host in sys.modules:
        importlib.import_module(guest)
    else:
        sys.meta_path.insert(0, _Waiting(host, guest))


class _Waiting(importlib.abc.MetaPathFinder):
    """Finds the host as usual, with a loader that also imports the guest."""

    def __init__(self, host: str, guest: str) -> None:
        self.host, self.guest, self.asking = host, guest, False

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        """Find the host only."""
        if fullname != self.host or self.asking:
            return None
        self.asking = True  # so that only the other finders are asked
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self.asking = False
        if spec and spec.loader:
            spec.loader = _ThenGuest(spec.loader, self)
        return spec


class _ThenGuest(importlib.abc.Loader):
    def __init__(self, loader: importlib.abc.Loader, waiting: _Waiting) -> None:
        self.loader, self.waiting = loader, waiting

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None  # noqa: S101
        if self.waiting in sys.meta_path:  # not earlier: a spec may be requested without an import
            sys.meta_path.remove(self.waiting)
        module.__spec__.loader = module.__loader__ = self.loader
        self.loader.exec_module(module)
        # a guest that imported the host itself is partly imported now and is completed later
        importlib.import_module(self.waiting.guest)
