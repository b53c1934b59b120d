"""Dehaze every photo of a folder with one loaded network, half strength where haze is thin.

    python examples/dehaze_folder.py photos/ clear/ [MODEL]

`corun dehaze photos/ -o clear/` does the same at full strength; this shows the calls behind it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import corun
from corun.errors import CorunError

THIN_HAZE = 0.8
"""Mean transmission, unitless, above which a picture has little haze to remove."""


def main(source: Path, target: Path, model: str = "corun-lite") -> None:
    dehazer = corun.load(model)
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.iterdir()):
        try:
            clear = dehazer(path)
            if clear.transmission is not None and clear.transmission.mean() > THIN_HAZE:
                clear = dehazer(path, strength=0.5)
            saved = clear.save(target / path.name, overwrite=True)
        except CorunError as error:
            print(f"skipped: {error}", file=sys.stderr)
            continue
        print(saved)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:4])
