"""Compares weights files with the checksums of their cards, in the checkout and in wheels.

    python .ci/weights.py [WHEEL...]

Needs nothing but Python. A weights file without a checksum fails, too.
"""

from __future__ import annotations

import hashlib
import json
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
FOLDERS = ("src/corun/weights", "trunk")


def main(wheels: list[str]) -> int:
    """Prints a line for each file; 1 where one is not what its card says."""
    wrong = 0
    for name, content, card in (*_in_checkout(), *(one for w in wheels for one in _in_wheel(w))):
        found = hashlib.sha256(content).hexdigest()
        stated = card.get("sha256")
        wrong += found != stated
        verdict = "as stated" if found == stated else f"WRONG: the card states {stated}"
        print(f"{name}: {found[:16]}… {verdict}")
    return 1 if wrong else 0


def _in_checkout() -> Iterator[tuple[str, bytes, dict[str, object]]]:
    for folder in FOLDERS:
        for path in sorted((CHECKOUT / folder).glob("*.safetensors")):
            card = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
            yield str(path.relative_to(CHECKOUT)), path.read_bytes(), card


def _in_wheel(wheel: str) -> Iterator[tuple[str, bytes, dict[str, object]]]:
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.endswith(".safetensors")]
        if not names:
            raise SystemExit(f"{wheel}: holds no weights")
        for name in names:
            card = json.loads(archive.read(name.replace(".safetensors", ".json")))
            yield f"{Path(wheel).name}/{name}", archive.read(name), card


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
