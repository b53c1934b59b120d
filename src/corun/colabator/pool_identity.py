"""What the labels of a pool have in common, and the refusal of a pool that is another."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from corun.colabator.pool_files import write_atomically
from corun.errors import DataError

VERSION = 1


@dataclass(frozen=True)
class PoolIdentity:
    """What a pool's labels have in common; a pool of another identity is refused.

    Attributes:
        network: the network that makes the labels, and the weights it started from.
        density: name of the density evaluator.
        quality: name of the quality evaluator.
        side: height and width of the labels, pixels.
        block: side of the score blocks, pixels.
        rule: what the weights are made of.
    """

    network: str
    density: str
    quality: str
    side: int
    block: int
    rule: str = "trusted"


def check_identity(folder: Path, identity: PoolIdentity) -> None:
    """Describe a new pool, or compare with the description of the one that is there.

    Raises:
        DataError: the folder holds a pool of another identity, or labels without a description.
    """
    path = folder / "pool.json"
    mine = {"version": VERSION, **asdict(identity)}
    if not path.exists():
        if (folder / "labels.bin").exists():
            raise DataError(f"{folder}: labels without pool.json; give an empty folder")
        write_atomically(path, json.dumps(mine, indent=1).encode())
        return
    theirs = read_identity(folder)
    different = [name for name in mine if theirs.get(name) != mine[name]]
    if different:
        said = "; ".join(f"{n} is {theirs.get(n)!r}, not {mine[n]!r}" for n in different)
        raise DataError(
            f"{folder}: a pool of another run ({said}); give another pool folder, or move this "
            "one away to start anew"
        )


def read_identity(folder: Path) -> dict[str, Any]:
    """What ``pool.json`` says.

    Raises:
        DataError: there is no pool in the folder, or its description is damaged.
    """
    path = folder / "pool.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{folder}: holds no label pool (no pool.json)") from error
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: not the description of a label pool") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: not the description of a label pool")
    return content
