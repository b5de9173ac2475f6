# SPDX-License-Identifier: Apache-2.0
"""Write the configs of the package to files that `anomalib` can read."""

from difflib import get_close_matches
from pathlib import Path

from anomalib_clip3dad.errors import InputError, MissingFileError

_PACKAGE = Path(__file__).resolve().parent.parent


def configs(name: str | None = None, folder: Path = Path("configs")) -> None:
    """Write all configs into a folder, or print one: clip3dad configs --name my_parts > my_parts.yaml.

    Args:
        name: Name of the config to print, such as my_parts, offline or benchmark/quick.
        folder: Folder for all configs; existing files are kept.
    """
    source = find_configs()
    files = sorted(file.relative_to(source) for file in source.rglob("*.yaml"))
    if name is not None:
        names = [file.with_suffix("").as_posix() for file in files]
        wanted = name.removesuffix(".yaml").removeprefix("configs/")
        if wanted not in names:
            near = get_close_matches(wanted, names, n=1)
            msg = f"name={name!r}: no such config; " + (f"did you mean {near[0]}? " if near else "")
            msg += f"There are {', '.join(names)}"
            raise InputError(msg)
        print((source / f"{wanted}.yaml").read_text(encoding="utf-8"), end="")
        return
    kept = [file for file in files if (folder / file).exists()]
    for file in files:
        if file not in kept:
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text((source / file).read_text(encoding="utf-8"), encoding="utf-8")
    print(f"{folder.absolute()}: {len(files) - len(kept)} configs written")
    if kept:
        print(f"There already, left unchanged: {', '.join(map(str, kept))}")


def find_configs() -> Path:
    """Find the folder of the configs: in the installed package, or beside it in a checkout.

    Raises:
        FileNotFoundError: If it is in neither place.
    """
    for folder in (_PACKAGE / "configs", _PACKAGE.parent / "configs"):
        if (folder / "my_parts.yaml").is_file():
            return folder
    msg = f"{_PACKAGE / 'configs'}: the configs are not there, so the installation is incomplete; install "
    msg += "anomalib_clip3dad again"
    raise MissingFileError(msg)
