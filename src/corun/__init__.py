"""corun takes the haze out of real photos and videos, and trains the networks that do it.

    import corun

    corun.dehaze("photo.jpg").save("clear.jpg")

    dehazer = corun.load("corun-lite")
    for path in paths:
        dehazer(path).save(path.with_suffix(".clear.png"))

Nothing heavy is imported until one of these names is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from corun.dehazing.dehazed import Dehazed
    from corun.dehazing.loading import dehaze, list_models, load
    from corun.networks.corun import CORUN

__all__ = ["CORUN", "Dehazed", "dehaze", "list_models", "load"]

_HOMES = {
    "CORUN": "corun.networks.corun",
    "Dehazed": "corun.dehazing.dehazed",
    "dehaze": "corun.dehazing.loading",
    "list_models": "corun.dehazing.loading",
    "load": "corun.dehazing.loading",
}


def __getattr__(name: str) -> object:
    """Imports a public name, or the version, at its first use."""
    if name == "__version__":
        from importlib.metadata import version

        return version("corun-dehaze")
    if name not in _HOMES:
        raise AttributeError(f"module 'corun' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__, "__version__"]
