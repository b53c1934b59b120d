"""Saying which extra a command lacks, before anything of it is imported."""

from __future__ import annotations

from importlib.util import find_spec

from corun.errors import MissingExtraError


def require_serve() -> None:
    """
    Raises:
        MissingExtraError: the extra "serve" is not installed.
    """
    require("serve", "fastapi", "uvicorn", "python_multipart", "prometheus_client")


def require(extra: str, *modules: str) -> None:
    """
    Raises:
        MissingExtraError: one of the modules of an extra is not installed.
    """
    for module in modules:
        if find_spec(module) is None:
            raise MissingExtraError(module.replace("_", "-"), extra)
