# SPDX-License-Identifier: Apache-2.0
import sys
from importlib import import_module
from pathlib import Path

import pytest

from anomalib_clip3dad.lazy import lazily


def test_modules_are_imported_at_the_first_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = tmp_path / "lazy_room"
    room.mkdir()
    (room / "__init__.py").write_text(
        "from anomalib_clip3dad.lazy import lazily\n__getattr__ = lazily(__name__, {'find': '.search', 'store': ''})\n"
    )
    (room / "search.py").write_text("def find(): return 7\n")
    (room / "store.py").write_text("size = 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    lazy_room = import_module("lazy_room")
    try:
        assert not {"lazy_room.search", "lazy_room.store"} & set(sys.modules)
        assert lazy_room.find() == 7
        assert "lazy_room.store" not in sys.modules
        assert lazy_room.store.size == 3
    finally:
        for name in [name for name in sys.modules if name.startswith("lazy_room")]:
            del sys.modules[name]


def test_other_names_are_not_there() -> None:
    with pytest.raises(AttributeError, match="module 'room' has no attribute 'other'"):
        lazily("room", {"find": ".search"})("other")
