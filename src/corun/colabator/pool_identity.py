"""What the labels of a pool have in common, and the refusal of a pool that is another."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from corun.colabator.pool_files import read_json, write_atomically
from corun.errors import DataError

VERSION = 2


@dataclass(frozen=True)
class PoolIdentity:
    """What a pool's labels have in common; a pool of another identity is refused.

    Attributes:
        network: the network that makes the labels, and the weights it started from.
        density: full name of the density evaluator, with what it was set to.
        quality: full name of the quality evaluator, likewise.
        side: height and width of the labels, pixels.
        block: side of the score blocks, pixels.
        rule: what the weights are made of.
        region: which part of a photo a label shows, ``crop`` or ``whole``.
        scale: with ``crop``, the share of the photo's short side that it shows, (0,1].
    """

    network: str
    density: str
    quality: str
    side: int
    block: int
    rule: str = "trusted"
    region: str = "crop"
    scale: float = 1.0


_TYPES: dict[str, tuple[type, ...]] = {"str": (str,), "int": (int,), "float": (float, int)}


def check_identity(folder: Path, identity: PoolIdentity) -> None:
    """Describe a new pool, or compare with the description of the one that is there.

    Raises:
        DataError: the folder holds a pool of another identity, or labels without a description.
    """
    path = folder / "pool.json"
    mine = asdict(identity)
    if not path.exists():
        if (folder / "labels.bin").exists():
            raise DataError(f"{folder}: labels without pool.json; give an empty folder")
        content = {"version": VERSION, **mine}
        write_atomically(path, json.dumps(content, indent=1).encode())
        return
    theirs = asdict(read_identity(folder))
    different = [name for name in mine if theirs[name] != mine[name]]
    if different:
        said = "; ".join(f"{n} is {theirs[n]!r}, not {mine[n]!r}" for n in different)
        raise DataError(
            f"{folder}: a pool of another run ({said}); give another pool folder, or move this "
            "one away to start anew"
        )


def read_identity(folder: Path) -> PoolIdentity:
    """What ``pool.json`` says.

    Raises:
        DataError: there is no pool in the folder, it is of another version of corun, or its
            description is damaged.
    """
    path = folder / "pool.json"
    if not path.is_file():
        raise DataError(f"{folder}: holds no label pool (no pool.json)")
    content: Any = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("version"), int):
        raise DataError(f"{path}: not the description of a label pool")
    version = content.pop("version")
    if version != VERSION:
        raise DataError(
            f"{folder}: a pool of another version of corun (layout {version}, not {VERSION}); "
            "give another pool folder, or move this one away to start anew"
        )
    wanted = {field.name: _TYPES[str(field.type)] for field in fields(PoolIdentity)}
    wrong = [name for name, kind in wanted.items() if type(content.get(name)) not in kind]
    wrong += [name for name in ("side", "block") if name not in wrong and content[name] < 1]
    if wrong or set(content) != set(wanted):
        names = ", ".join(wrong or sorted(set(content) - set(wanted)))
        raise DataError(f"{path}: damaged ({names}); move the pool's folder away, or restore it")
    return PoolIdentity(**content)
