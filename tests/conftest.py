# SPDX-License-Identifier: Apache-2.0
"""What several tests share: a tiny CLIP, a tiny part, tiny folders."""

import ipaddress
import json
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from anomalib.data import DepthBatch
from open_clip import factory

# The tests' tensors are tiny: threads would only wait for each other.
torch.set_num_threads(1)

# Jobs in the background of a shell ignore interrupts, and so would the commands that tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

TINY = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 48, "layers": 3, "width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


def _is_far(host: str) -> bool:
    """Whether a name or an address is none of this machine and its own network."""
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return host not in {"", "localhost", socket.gethostname()}


@pytest.fixture(scope="session", autouse=True)
def network() -> Iterator[list[str]]:
    """The hosts that somebody asked for, since the last test; nobody reaches them."""
    asked: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        for name, there in (("connect", socket.socket.connect), ("connect_ex", socket.socket.connect_ex)):

            def connect(self: socket.socket, address: Any, there: Any = there) -> Any:
                # a datagram's connection sends nothing; Ray asks for its own address by one
                if self.family in {socket.AF_INET, socket.AF_INET6} and self.type != socket.SOCK_DGRAM:
                    refuse(address[0])
                return there(self, address)

            patch.setattr(socket.socket, name, connect)
        resolve = socket.getaddrinfo

        def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
            refuse(host.decode() if isinstance(host, bytes) else host or "")
            return resolve(host, *args, **kwargs)

        def refuse(host: str) -> None:
            if _is_far(host):
                asked.append(host)
                msg = f"tests have no network: {host}"
                raise OSError(msg)

        patch.setattr(socket, "getaddrinfo", getaddrinfo)
        yield asked


@pytest.fixture(autouse=True)
def _no_network(network: list[str]) -> Iterator[None]:
    """Nothing in the package asks for the network, not even where it could do without an answer."""
    network.clear()
    yield
    assert not network, f"asked for {network}"


@contextmanager
def known_to_open_clip(folder: Path, name: str, config: dict[str, Any]) -> Iterator[str]:
    """Let open_clip know an architecture by name for as long as the tests need it."""
    file = folder / f"{name}.json"
    file.write_text(json.dumps(config))
    open_clip.add_model_config(file)
    yield name
    factory._MODEL_CONFIG_PATHS.remove(file)
    factory._rescan_model_configs()


@pytest.fixture(scope="session", autouse=True)
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A CLIP of 48 px, 3 x 3 patches and 3 blocks, D = 64, C = 24, known to open_clip by name."""
    with known_to_open_clip(tmp_path_factory.mktemp("clip"), "ViT-test-tiny", TINY) as name:
        yield name


@pytest.fixture(scope="session")
def deployed(tiny_clip: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What `tests.deployed` makes, once for all tests."""
    from tests.deployed import deploy  # noqa: PLC0415  # it needs what stands here

    return deploy(tiny_clip, tmp_path_factory.mktemp("deployed"))


@pytest.hookimpl(tryfirst=True)  # before xdist, which writes the groups into the names
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where several processes share the tests, a file stays together, and so do those of what takes long to make.

    A file may name another group.
    Those of `deployed` are slow, too, as its exports take minutes.
    """
    for item in items:
        made = {"deployed", "undisturbed"} & set(getattr(item, "fixturenames", ()))
        if "deployed" in made:
            item.add_marker(pytest.mark.slow)
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(min(made, default=item.path.name + str(item.path.parent))))


@pytest.fixture(autouse=True)
def _seed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each test draws the same numbers and writes its results where nobody minds."""
    torch.manual_seed(0)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def bumpy_part(height: int = 48, width: int = 48, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """An image (3, H, W) in [0, 1] and a cloud (3, H, W) in metres: a bump of 30 mm on a tilted plane at 0.5 m."""
    generator = torch.Generator().manual_seed(seed)
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    u, v = (columns - (width - 1) / 2) / width, (rows - (height - 1) / 2) / height
    shift = 0.1 * (torch.rand(2, generator=generator) - 0.5)
    distance = ((u - shift[0]) ** 2 + (v - shift[1]) ** 2).sqrt()
    depth = 0.5 + 0.05 * u - 0.03 * v - 0.03 * (1 - (distance / 0.3) ** 2).clamp(min=0).sqrt()
    xyz = torch.stack([u * depth * 0.4, v * depth * 0.4, depth])
    xyz[:, torch.rand(height, width, generator=generator) < 0.02] = 0
    return torch.rand(3, height, width, generator=generator), xyz


def depth_batch(size: int = 2, height: int = 48, width: int = 48) -> DepthBatch:
    """Different flawless parts, as a data loader would give them."""
    parts = [bumpy_part(height, width, seed) for seed in range(size)]
    return DepthBatch(
        image=torch.stack([image for image, _ in parts]),
        depth_map=torch.stack([xyz for _, xyz in parts]),
        gt_mask=torch.zeros(size, height, width, dtype=torch.bool),
        gt_label=torch.zeros(size, dtype=torch.bool),
        image_path=[f"root/test/good/rgb/{i:03d}.png" for i in range(size)],
    )


class OnDevice(torch.Tensor):
    """A tensor that must not be looked at, as if it lay on a GPU, which would have to finish its work first."""

    is_cuda = True  # type: ignore[assignment]
    _LOOKS = frozenset(
        {"item", "tolist", "numpy", "cpu", "nonzero", "masked_select", "unique", "__array__"}
        | {f"__{name}__" for name in ("bool", "int", "float", "index")}
    )

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        index = args[1] if name == "__getitem__" else ()
        by_mask = [i for i in (index if isinstance(index, tuple) else (index,)) if isinstance(i, torch.Tensor)]
        if name in cls._LOOKS or any(i.dtype == torch.bool for i in by_mask):
            msg = f"{name} looks at the numbers"
            raise AssertionError(msg)
        return super().__torch_function__(func, types, args, kwargs or {})
